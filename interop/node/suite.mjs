// KafkaJS against a broker.
//
//     node suite.mjs BOOTSTRAP [NAME...]
//
// Runs the checks and prints one line each; exits 1 if one failed. A check waits for a condition and
// has a deadline; it never sleeps in the hope that something has happened meanwhile. Topic names
// carry the time of the run, so the suite can run again and again against one broker.

import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import lz4 from 'lz4-napi'
import * as zstd from '@bokuweb/zstd-wasm'

const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = kafkajs
const DEADLINE_MS = 60_000
const HOUR_MS = 3_600_000
const RUN = Date.now().toString(36)

// KafkaJS brings gzip and takes the others as plug-ins.
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrame(encoder.buffer),
  decompress: async buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const checks = []
const check = (name, run) => checks.push({ name, run })

const kafka = new Kafka({
  clientId: 'interop',
  brokers: [process.argv[2]],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 8 },
})
const admin = kafka.admin()

const topicName = name => `node-${name}-${RUN}`

async function create(name, numPartitions = 1) {
  const topic = topicName(name)
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true })
  return topic
}

async function withProducer(settings, use) {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...settings })
  await producer.connect()
  try {
    return await use(producer)
  } finally {
    await producer.disconnect()
  }
}

const send = (topic, messages, more = {}, settings = {}) =>
  withProducer(settings, producer => producer.send({ topic, messages, ...more }))

function within(what, promise, ms = DEADLINE_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in ${ms} ms: ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// Runs a consumer until `count` records have come. `onJoin` may seek: KafkaJS seeks only while it runs.
async function consume(topic, count, { settings = {}, run = {}, onJoin, after } = {}) {
  const groupId = settings.groupId ?? `${topic}-${crypto.randomUUID()}`
  const consumer = kafka.consumer({ maxWaitTimeInMs: 500, ...settings, groupId })
  await consumer.connect()
  try {
    await consumer.subscribe({ topic, fromBeginning: true })
    const got = []
    const all = new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, e => reject(e.payload.error))
      const eachMessage = async ({ partition, message }) => {
        if (got.length < count) got.push({ partition, ...message })
        if (got.length >= count) resolve()
      }
      consumer.run({ autoCommit: false, eachMessage, ...run }).catch(reject)
      onJoin?.(consumer)
    })
    await within(`${count} records of ${topic}`, all)
    await after?.(consumer, got)
    return got
  } finally {
    await consumer.disconnect()
  }
}

const text = buffer => buffer?.toString() ?? null
const values = messages => messages.map(m => text(m.value))

async function refused(promise) {
  try {
    await promise
  } catch (e) {
    return e
  }
  throw new Error('succeeded, but should have failed')
}

check('auto-created-topic', async () => {
  const topic = topicName('auto')
  const [stored] = await send(topic, [{ key: 'k', value: 'v' }])
  assert.equal(stored.baseOffset, '0', 'offset of the first record')
  assert.deepEqual(values(await consume(topic, 1)), ['v'])
})

check('create-delete-topic', async () => {
  const topic = await create('create', 3)
  const metadata = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.equal(metadata.topics[0].partitions.length, 3)
  const created = await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] })
  assert.equal(created, false, 'createTopics says false for one that exists')
  await admin.deleteTopics({ topics: [topic] })
  assert.ok(!(await admin.listTopics()).includes(topic), 'listed after its deletion')
  const why = await refused(admin.deleteTopics({ topics: [topic] }))
  assert.equal(why.type ?? why.cause?.type, 'UNKNOWN_TOPIC_OR_PARTITION')
})

for (const codec of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
  check(`codec-${codec.toLowerCase()}`, async () => {
    const topic = await create(`codec-${codec}`)
    const messages = Array.from({ length: 500 }, (_, i) => ({
      key: `key-${i}`,
      value: `record ${i} of water on its way down `.repeat(1 + (i % 17)),
    }))
    const [stored] = await send(topic, messages, { compression: CompressionTypes[codec] })
    assert.equal(stored.baseOffset, '0')
    const got = await consume(topic, 500)
    assert.deepEqual(got.map(m => ({ key: text(m.key), value: text(m.value) })), messages)
    assert.deepEqual(got.map(m => m.offset), messages.map((_, i) => String(i)))
  })
}

check('headers', async () => {
  const topic = await create('headers')
  const headers = { twice: ['one', 'two'], empty: '', 물길: '물' }
  await send(topic, [{ value: 'v', headers }])
  const [got] = await consume(topic, 1)
  assert.deepEqual(Object.keys(got.headers), ['twice', 'empty', '물길'])
  assert.deepEqual(got.headers.twice.map(text), ['one', 'two'])
  assert.equal(text(got.headers.empty), '')
  assert.equal(text(got.headers.물길), '물')
})

check('null-key-and-value', async () => {
  const topic = await create('nulls')
  const messages = [
    { key: null, value: 'no key' },
    { key: 'no value', value: null },
    { key: null, value: null },
    { key: '', value: '' },
  ]
  await send(topic, messages)
  const got = await consume(topic, 4)
  assert.deepEqual(got.map(m => ({ key: text(m.key), value: text(m.value) })), messages)
})

check('keyed-partitions', async () => {
  const topic = await create('keyed', 4)
  await send(topic, Array.from({ length: 400 }, (_, i) => ({ key: `key-${i % 37}`, value: String(i) })))
  const partitionOf = new Map()
  const offsetIn = new Map()
  const lastOf = new Map()
  for (const { partition, key: rawKey, value, offset } of await consume(topic, 400)) {
    const key = text(rawKey)
    assert.equal(partition, partitionOf.get(key) ?? partition, `partition of ${key}`)
    partitionOf.set(key, partition)
    assert.equal(Number(offset), offsetIn.get(partition) ?? 0, `offset in ${partition}`)
    offsetIn.set(partition, Number(offset) + 1)
    assert.ok((lastOf.get(key) ?? -1) < Number(text(value)), `order of ${key}`)
    lastOf.set(key, Number(text(value)))
  }
  assert.equal(offsetIn.size, 4, 'partitions in use')
})

for (const [name, acks] of [['0', 0], ['1', 1], ['all', -1]]) {
  check(`acks-${name}`, async () => {
    const topic = await create(`acks-${name}`)
    const messages = Array.from({ length: 20 }, (_, i) => ({ value: `value ${i}` }))
    await send(topic, messages, { acks })
    assert.deepEqual(values(await consume(topic, 20)), messages.map(m => m.value))
  })
}

check('idempotent-concurrent', async () => {
  const topic = await create('idempotent', 2)
  await withProducer({ idempotent: true, maxInFlightRequests: 5 }, async producer => {
    const one = async line => {
      for (let i = 0; i < 100; i++) {
        await producer.send({ topic, messages: [{ partition: line % 2, value: `${line} ${i}` }] })
      }
    }
    await Promise.all([0, 1, 2, 3].map(one))
  })
  const next = [0, 0, 0, 0]
  for (const value of values(await consume(topic, 400))) {
    const [line, number] = value.split(' ').map(Number)
    assert.equal(number, next[line]++, `next of ${line}`)
  }
})

const LIMIT = 1_048_588

check('large-message', async () => {
  const topic = await create('large')
  const value = crypto.randomBytes(LIMIT - 100)
  await send(topic, [{ value }])
  const [got] = await consume(topic, 1)
  assert.ok(value.equals(got.value), 'the bytes differ')
})

check('too-large-message', async () => {
  const topic = await create('too-large')
  await withProducer({}, async producer => {
    const sent = producer.send({ topic, messages: [{ value: crypto.randomBytes(LIMIT + 1) }] })
    const why = await refused(sent)
    assert.equal(why.type ?? why.cause?.type, 'MESSAGE_TOO_LARGE')
    await producer.send({ topic, messages: [{ value: 'small' }] })
  })
  assert.deepEqual(values(await consume(topic, 1)), ['small'])
})

// A topic of one partition with records 0, 1 ... an hour apart, the last one at `now`.
async function hourly(name, count, now = Date.now()) {
  const topic = await create(name)
  await withProducer({}, async producer => {
    for (let i = 0; i < count; i++) {
      const timestamp = String(now - (count - 1 - i) * HOUR_MS)
      await producer.send({ topic, messages: [{ value: String(i), timestamp }] })
    }
  })
  return topic
}

check('seek', async () => {
  const topic = await hourly('seek', 10)
  const [offsets] = await admin.fetchTopicOffsets(topic)
  assert.deepEqual([offsets.low, offsets.high], ['0', '10'])
  assert.deepEqual(values(await consume(topic, 1)), ['0'], 'from the beginning')
  const onJoin = consumer => consumer.seek({ topic, partition: 0, offset: '7' })
  assert.deepEqual(values(await consume(topic, 3, { onJoin })), ['7', '8', '9'], 'from 7')
})

check('seek-timestamp', async () => {
  const now = Date.now()
  const topic = await hourly('by-time', 10, now)
  const offsetAt = async time => Number((await admin.fetchTopicOffsetsByTimestamp(topic, time))[0].offset)
  for (let i = 0; i < 10; i++) {
    const exact = now - (9 - i) * HOUR_MS
    for (const asked of [exact, exact - 1, exact - HOUR_MS + 1]) {
      assert.equal(await offsetAt(asked), i, `offset for ${asked}`)
    }
  }
  assert.equal(await offsetAt(now + 1), 10, 'KafkaJS tells the end for a time without a record')
})

check('out-of-range-reset', async () => {
  const topic = await hourly('range', 5)
  const onJoin = consumer => consumer.seek({ topic, partition: 0, offset: '1000' })
  const got = await consume(topic, 1, { onJoin })
  assert.equal(got[0].offset, '0', 'reset to the earliest')
})

check('group-resume', async () => {
  const topic = await hourly('group', 10)
  const groupId = `${topic}-readers`
  const commit = offset => async consumer => {
    await consumer.commitOffsets([{ topic, partition: 0, offset, metadata: 'so far' }])
  }
  await consume(topic, 4, { settings: { groupId }, after: commit('4') })
  const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] })
  assert.equal(committed.partitions[0].offset, '4')
  assert.equal(committed.partitions[0].metadata, 'so far')
  const rest = await consume(topic, 6, { settings: { groupId }, after: commit('10') })
  assert.deepEqual(values(rest), ['4', '5', '6', '7', '8', '9'])
  const [end] = await admin.fetchOffsets({ groupId, topics: [topic] })
  assert.equal(end.partitions[0].offset, '10')
})

check('long-poll', async () => {
  const topic = await create('long-poll')
  let sentAt
  const onJoin = consumer => {
    // The first fetch that finds nothing ends only after maxWaitTime; the group has joined before it.
    consumer.on(consumer.events.FETCH_START, () => {
      if (sentAt) return
      sentAt = Date.now()
      send(topic, [{ value: 'at last' }])
    })
  }
  const got = await consume(topic, 1, { settings: { maxWaitTimeInMs: 20_000 }, onJoin, after: () => {
    const waited = Date.now() - sentAt
    assert.ok(waited < 10_000, `came only after ${waited} ms, so nobody was woken`)
  } })
  assert.deepEqual(values(got), ['at last'])
})

check('unknown-topic', async () => {
  const topic = topicName('unknown')
  const messages = [{ value: 'lost' }]
  const quick = { allowAutoTopicCreation: false, retry: { retries: 1, initialRetryTime: 50 } }
  const why = await refused(send(topic, messages, {}, quick))
  assert.equal(why.type ?? why.cause?.type, 'UNKNOWN_TOPIC_OR_PARTITION')
  assert.ok(!(await admin.listTopics()).includes(topic), 'asking for it created it')
})

async function main() {
  const wanted = process.argv.slice(3)
  let good = true
  await zstd.init()
  await admin.connect()
  for (const { name, run } of checks) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    try {
      await within('the end of the check', run(), DEADLINE_MS + 30_000)
      console.log(`ok ${name}`)
    } catch (e) {
      console.error(e)
      console.log(`FAIL ${name}: ${String(e.message ?? e).replaceAll('\n', ' ')}`)
      good = false
    }
  }
  await admin.disconnect()
  process.exit(good ? 0 : 1)
}

await main()
