// Confluent's client for JavaScript (librdkafka) against a broker, by both of its interfaces.
//
//     node suite.mjs BOOTSTRAP [NAME...]
//
// Runs the checks and prints one line each; exits 1 if one failed.

import crypto from 'node:crypto'
import confluent from '@confluentinc/kafka-javascript'
import { main, until, within } from '../node/checks.mjs'
import { register } from '../node/kafkajs_checks.mjs'
import { registerGroups } from './groups.mjs'
import { registerCallbacks } from './callbacks.mjs'

const { Kafka, ErrorCodes, logLevel } = confluent.KafkaJS
const brokers = [process.argv[2]]
const kafka = new Kafka({ kafkaJS: { brokers, clientId: 'interop', logLevel: logLevel.NOTHING } })
const admin = kafka.admin()

async function partitions(topic) {
  const told = await admin.fetchTopicMetadata({ topics: [topic] })
  return told[0].partitions.length
}

async function create(topic, numPartitions, settings) {
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }] })
}

// The client writes into the messages that it is given, so it is given copies. It takes codec and acks with the
// producer. What is too large shall be refused by the broker.
async function withProducer({ codec, ...settings }, use) {
  const kafkaJS = codec === undefined ? settings : { ...settings, compression: codec }
  const quick = { 'message.max.bytes': 4_194_352, 'topic.metadata.propagation.max.ms': 2_000 }
  const producer = kafka.producer({ kafkaJS, 'linger.ms': 5, ...quick })
  await producer.connect()
  try {
    return await use({
      send: ({ topic, messages }) => producer.send({ topic, messages: messages.map(each => ({ ...each })) }),
    })
  } finally {
    await producer.disconnect()
  }
}

// Runs a consumer until `count` records have come.
async function consume(topic, count, { groupId, maxWaitTimeInMs = 500, seek, waiting, after } = {}) {
  groupId ??= `${topic}-${crypto.randomUUID()}`
  const consumer = kafka.consumer({
    kafkaJS: { groupId, maxWaitTimeInMs, fromBeginning: true, autoCommit: false },
  })
  await consumer.connect()
  try {
    await consumer.subscribe({ topic })
    const got = []
    const all = new Promise((resolve, reject) => {
      const eachMessage = async ({ partition, message }) => {
        if (got.length < count) got.push({ partition, ...message })
        if (got.length >= count) resolve()
      }
      consumer.run({ eachMessage }).catch(reject)
      if (seek !== undefined) consumer.seek({ topic, partition: 0, offset: seek })
    })
    // It tells no events; what it was assigned it reads.
    if (waiting) await until('something is assigned', () => consumer.assignment().length > 0)
    waiting?.()
    await within(`${count} records of ${topic}`, all)
    await after?.(consumer)
    return got
  } finally {
    await consumer.disconnect()
  }
}

const unknownTopic = ErrorCodes.ERR_UNKNOWN_TOPIC_OR_PART
const nullsEmptyValues = true
const client = { admin, partitions, create, withProducer, consume, unknownTopic, nullsEmptyValues }
const shared = register({ prefix: 'confluent', ...client })
registerGroups(kafka, admin, shared)
registerCallbacks(confluent, brokers[0], shared)

await main(() => admin.connect(), () => admin.disconnect())
