// KafkaJS against a broker.
//
//     node suite.mjs BOOTSTRAP [NAME...]
//
// Runs the checks and prints one line each; exits 1 if one failed.

import crypto from 'node:crypto'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import lz4 from 'lz4-napi'
import * as zstd from '@bokuweb/zstd-wasm'
import { CODE, main, within } from './checks.mjs'
import { register } from './kafkajs_checks.mjs'

const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = kafkajs

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
const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }

const kafka = new Kafka({
  clientId: 'interop',
  brokers: [process.argv[2]],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 8 },
})
const admin = kafka.admin()

async function create(topic, numPartitions, settings) {
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
  const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }]
  await admin.createTopics({ topics, waitForLeaders: true })
}

// KafkaJS takes codec and acks with each send.
async function withProducer({ codec = 'none', acks, ...settings }, use) {
  if (settings.allowAutoTopicCreation === false) settings.retry = { retries: 1, initialRetryTime: 50 }
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...settings })
  const compression = CompressionTypes[CODECS[codec]]
  const how = acks === undefined ? { compression } : { compression, acks }
  await producer.connect()
  try {
    return await use({ send: records => producer.send({ ...how, ...records }) })
  } finally {
    await producer.disconnect()
  }
}

// Runs a consumer until `count` records have come. KafkaJS seeks only while it runs.
async function consume(topic, count, { groupId, maxWaitTimeInMs = 500, seek, waiting, after } = {}) {
  groupId ??= `${topic}-${crypto.randomUUID()}`
  const consumer = kafka.consumer({ maxWaitTimeInMs, groupId })
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
      consumer.run({ autoCommit: false, eachMessage }).catch(reject)
      if (seek !== undefined) consumer.seek({ topic, partition: 0, offset: seek })
      // The first fetch that finds nothing ends only after maxWaitTime; the group has joined before it.
      if (waiting) consumer.on(consumer.events.FETCH_START, waiting)
    })
    await within(`${count} records of ${topic}`, all)
    await after?.(consumer)
    return got
  } finally {
    await consumer.disconnect()
  }
}

register({
  prefix: 'node',
  admin,
  partitions: async topic => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length,
  create,
  withProducer,
  consume,
  unknownTopic: CODE.UNKNOWN_TOPIC_OR_PARTITION,
})

await main(
  async () => {
    await zstd.init()
    await admin.connect()
  },
  () => admin.disconnect(),
)
