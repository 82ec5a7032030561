// What a client with the interface of KafkaJS has to do.
//
// Such a client is given as an object with
//
//     prefix                                 of the names of its topics
//     admin                                  connected
//     partitions(topic)                      their number
//     create(topic, numPartitions, settings) a topic, and waits for its leaders
//     withProducer(settings, use)            of which codec, acks, idempotent, maxInFlightRequests
//                                            and allowAutoTopicCreation are used here
//     consume(topic, count, how)             a group that reads from the beginning; how may hold
//                                            groupId, maxWaitTimeInMs, seek (an offset), waiting (called
//                                            when it reads), after (called with the consumer)
//     unknownTopic                           the code of what it says when it may not create one
//     nullsEmptyValues                       whether it sends an empty value as none

import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import { check, CODE, codeOf, HOUR_MS, LIMIT, refused, RUN, text, until, values } from './checks.mjs'

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

export function register(client) {
  const { admin, consume, withProducer } = client
  const topicName = name => `${client.prefix}-${name}-${RUN}`

  async function create(name, numPartitions = 1, settings = {}) {
    const topic = topicName(name)
    await client.create(topic, numPartitions, settings)
    return topic
  }

  const send = (topic, messages, settings = {}) =>
    withProducer(settings, producer => producer.send({ topic, messages }))

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

  check('auto-created-topic', async () => {
    const topic = topicName('auto')
    const [stored] = await send(topic, [{ key: 'k', value: 'v' }])
    assert.equal(stored.baseOffset, '0', 'offset of the first record')
    assert.deepEqual(values(await consume(topic, 1)), ['v'])
  })

  check('create-delete-topic', async () => {
    const topic = await create('create', 3)
    assert.equal(await client.partitions(topic), 3)
    const created = await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] })
    assert.equal(created, false, 'createTopics says false for one that exists')
    await admin.deleteTopics({ topics: [topic] })
    // Kafka's brokers learn of it behind the answer.
    await until('the topic is off the list', async () => !(await admin.listTopics()).includes(topic))
    const why = await refused(admin.deleteTopics({ topics: [topic] }))
    assert.equal(codeOf(why), CODE.UNKNOWN_TOPIC_OR_PARTITION)
  })

  for (const codec of CODECS) {
    check(`codec-${codec}`, async () => {
      const topic = await create(`codec-${codec}`)
      const messages = Array.from({ length: 500 }, (_, i) => ({
        key: `key-${i}`,
        value: `record ${i} of water on its way down `.repeat(1 + (i % 17)),
      }))
      const [stored] = await send(topic, messages, { codec })
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
    if (client.nullsEmptyValues) messages[3].value = null
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
      assert.equal(codeOf(why), CODE.MESSAGE_TOO_LARGE)
      await producer.send({ topic, messages: [{ value: 'small' }] })
    })
    assert.deepEqual(values(await consume(topic, 1)), ['small'])
  })

  check('seek', async () => {
    const topic = await hourly('seek', 10)
    const [offsets] = await admin.fetchTopicOffsets(topic)
    assert.deepEqual([offsets.low, offsets.high], ['0', '10'])
    assert.deepEqual(values(await consume(topic, 1)), ['0'], 'from the beginning')
    assert.deepEqual(values(await consume(topic, 3, { seek: '7' })), ['7', '8', '9'], 'from 7')
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
    assert.equal(await offsetAt(now + 1), 10, 'the end is told for a time without a record')
  })

  check('out-of-range-reset', async () => {
    const topic = await hourly('range', 5)
    const got = await consume(topic, 1, { seek: '1000' })
    assert.equal(got[0].offset, '0', 'reset to the earliest')
  })

  check('group-resume', async () => {
    const topic = await hourly('group', 10)
    const groupId = `${topic}-readers`
    const commit = offset => async consumer => {
      await consumer.commitOffsets([{ topic, partition: 0, offset, metadata: 'so far' }])
    }
    await consume(topic, 4, { groupId, after: commit('4') })
    const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] })
    assert.equal(committed.partitions[0].offset, '4')
    assert.equal(committed.partitions[0].metadata, 'so far')
    const rest = await consume(topic, 6, { groupId, after: commit('10') })
    assert.deepEqual(values(rest), ['4', '5', '6', '7', '8', '9'])
    const [end] = await admin.fetchOffsets({ groupId, topics: [topic] })
    assert.equal(end.partitions[0].offset, '10')
  })

  check('long-poll', async () => {
    const topic = await create('long-poll')
    let sentAt
    const waiting = () => {
      if (sentAt) return
      sentAt = Date.now()
      send(topic, [{ value: 'at last' }])
    }
    const after = () => {
      const waited = Date.now() - sentAt
      assert.ok(waited < 10_000, `came only after ${waited} ms, so nobody was woken`)
    }
    const got = await consume(topic, 1, { maxWaitTimeInMs: 20_000, waiting, after })
    assert.deepEqual(values(got), ['at last'])
  })

  check('unknown-topic', async () => {
    const topic = topicName('unknown')
    const settings = { allowAutoTopicCreation: false }
    const why = await refused(send(topic, [{ value: 'lost' }], settings))
    assert.equal(codeOf(why), client.unknownTopic)
    assert.ok(!(await admin.listTopics()).includes(topic), 'asking for it created it')
  })

  return { create, hourly, send, topicName }
}
