// The older interface of the client, that of node-rdkafka: callbacks and events.

import assert from 'node:assert/strict'
import { check, CODE, HOUR_MS, LIMIT, until, values, within } from '../node/checks.mjs'

const CALL_MS = 10_000

// Calls what takes a callback as its last argument.
const call = (client, name, ...rest) =>
  within(name, new Promise((resolve, reject) => {
    client[name](...rest, (error, found) => (error ? reject(error) : resolve(found)))
  }))

export function registerCallbacks({ AdminClient, KafkaConsumer, Producer }, bootstrap, { create, hourly, topicName }) {
  const global = { 'bootstrap.servers': bootstrap }

  const connect = client => call(client, 'connect', {}).then(() => client)

  async function withClient(client, use) {
    await connect(client)
    try {
      return await use(client)
    } finally {
      await within('disconnect', new Promise(resolve => client.disconnect(resolve)))
    }
  }

  // Produces, and gives the reports in the order of the records.
  const produce = (topic, records, settings = {}) =>
    withClient(new Producer({ ...global, dr_cb: true, ...settings }), async producer => {
      const reports = []
      producer.on('delivery-report', (error, report) => reports.push({ error, ...report }))
      producer.setPollInterval(20)
      records.forEach(({ partition = null, value, key, time, headers }, i) => {
        producer.produce(topic, partition, value, key, time, i, headers)
      })
      await until('every record has its report', () => reports.length === records.length)
      return reports.sort((a, b) => a.opaque - b.opaque)
    })

  const withConsumer = (settings, use) => {
    const defaults = { 'group.id': 'confluent-unused', 'enable.auto.commit': false }
    const consumer = new KafkaConsumer({ ...global, ...defaults, ...settings }, { 'auto.offset.reset': 'earliest' })
    consumer.setDefaultConsumeTimeout(200)
    return withClient(consumer, use)
  }

  async function take(consumer, count) {
    const got = []
    await until(`${count} records`, async () => {
      got.push(...(await call(consumer, 'consume', count - got.length)))
      return got.length === count
    })
    return got
  }

  check('callbacks-records', async () => {
    const topic = await create('callbacks', 1)
    const records = [
      { value: Buffer.from('v'), key: 'k', headers: [{ one: 'a' }, { two: Buffer.from('b') }, { one: 'c' }] },
      { value: null, key: 'no value' },
      { value: Buffer.from('no key'), key: null },
    ]
    const reports = await produce(topic, records, { 'compression.codec': 'zstd' })
    assert.deepEqual(reports.map(report => report.offset), [0, 1, 2])
    await withConsumer({}, async consumer => {
      consumer.assign([{ topic, partition: 0, offset: 0 }])
      const got = await take(consumer, 3)
      assert.deepEqual(values(got), ['v', null, 'no key'])
      assert.deepEqual(got.map(m => m.key?.toString() ?? null), ['k', 'no value', null])
      const headers = got[0].headers.map(header => Object.entries(header).map(([k, v]) => [k, v.toString()])[0])
      assert.deepEqual(headers, [['one', 'a'], ['two', 'b'], ['one', 'c']])
    })
  })

  check('callbacks-idempotent', async () => {
    const topic = await create('callbacks-idempotent', 1)
    const records = Array.from({ length: 2_000 }, (_, i) => ({ value: Buffer.from(String(i)) }))
    const reports = await produce(topic, records, { 'enable.idempotence': true, 'batch.num.messages': 20 })
    assert.deepEqual(reports.map(report => report.offset), records.map((_, i) => i))
  })

  check('callbacks-too-large', async () => {
    const topic = await create('callbacks-large', 1)
    const records = [{ value: Buffer.alloc(LIMIT + 1, 'x') }, { value: Buffer.from('small') }]
    const [large, small] = await produce(topic, records, { 'message.max.bytes': 4_194_352, 'linger.ms': 0 })
    assert.equal(large.error?.code, CODE.MESSAGE_TOO_LARGE)
    assert.equal(small.error, null, 'a small one beside it')
  })

  check('callbacks-positions', async () => {
    const now = Date.now()
    const topic = await hourly('callbacks-positions', 10, now)
    await withConsumer({}, async consumer => {
      const watermarks = await call(consumer, 'queryWatermarkOffsets', topic, 0, CALL_MS)
      assert.deepEqual(watermarks, { lowOffset: 0, highOffset: 10 })
      const asked = [{ topic, partition: 0, offset: now - 3 * HOUR_MS }]
      const [found] = await call(consumer, 'offsetsForTimes', asked, CALL_MS)
      assert.equal(found.offset, 6)
      consumer.assign([{ topic, partition: 0, offset: 0 }])
      assert.equal((await take(consumer, 1))[0].offset, 0)
      await call(consumer, 'seek', { topic, partition: 0, offset: 7 }, CALL_MS)
      assert.equal((await take(consumer, 1))[0].offset, 7)
    })
  })

  check('callbacks-group-resume', async () => {
    const topic = await hourly('callbacks-group', 10)
    const settings = { 'group.id': topic }
    await withConsumer(settings, async consumer => {
      consumer.subscribe([topic])
      const got = await take(consumer, 4)
      consumer.commitMessageSync(got[3])
    })
    await withConsumer(settings, async consumer => {
      consumer.subscribe([topic])
      assert.deepEqual(values(await take(consumer, 6)), ['4', '5', '6', '7', '8', '9'])
      consumer.commitSync()
      const [committed] = await call(consumer, 'committed', [{ topic, partition: 0 }], CALL_MS)
      assert.equal(committed.offset, 10)
    })
  })

  check('callbacks-admin', async () => {
    const admin = AdminClient.create(global)
    try {
      const topic = topicName('callbacks-admin')
      const wanted = { topic, num_partitions: 1, replication_factor: 1, config: { 'retention.ms': '5000000' } }
      await call(admin, 'createTopic', wanted)
      await assert.rejects(call(admin, 'createTopic', wanted), { code: CODE.TOPIC_ALREADY_EXISTS })
      await call(admin, 'createPartitions', topic, 3)
      const [told] = await call(admin, 'describeTopics', [topic], {})
      assert.equal(told.partitions.length, 3)
      await assert.rejects(call(admin, 'createPartitions', topic, 2), { code: CODE.INVALID_PARTITIONS })
      await call(admin, 'deleteTopic', topic)
      await assert.rejects(call(admin, 'deleteTopic', topic), { code: CODE.UNKNOWN_TOPIC_OR_PARTITION })
    } finally {
      admin.disconnect()
    }
  })
}
