// Groups whose members come and go, and what the admin client tells of groups and deletes.

import assert from 'node:assert/strict'
import confluent from '@confluentinc/kafka-javascript'
import { check, codeOf, refused, until } from '../node/checks.mjs'

const { ConsumerGroupStates, ErrorCodes, PartitionAssigners } = confluent.KafkaJS
const PARTITIONS = [0, 1, 2, 3]

export function registerGroups(kafka, admin, { create, hourly, send, topicName }) {
  async function member(topic, assigner, seen) {
    const consumer = kafka.consumer({
      kafkaJS: {
        groupId: topic,
        fromBeginning: true,
        autoCommit: false,
        sessionTimeout: 10_000,
        heartbeatInterval: 500,
        partitionAssigners: [assigner],
      },
    })
    await consumer.connect()
    await consumer.subscribe({ topic })
    const eachMessage = async ({ partition, message }) => {
      seen.add(`${partition} ${message.offset}`)
      const offset = String(Number(message.offset) + 1)
      await consumer.commitOffsets([{ topic, partition, offset }])
    }
    consumer.run({ eachMessage })
    return consumer
  }

  const settled = members =>
    until(`${members.length} members share all`, () => {
      const owned = members.map(consumer => consumer.assignment().map(each => each.partition))
      const all = owned.flat().sort()
      return owned.every(own => own.length > 0) && all.join() === PARTITIONS.join()
    })

  for (const [name, assigner] of [
    ['eager', PartitionAssigners.range],
    ['cooperative', PartitionAssigners.cooperativeSticky],
  ]) {
    check(`rebalance-${name}`, async () => {
      const topic = await create(`rebalance-${name}`, PARTITIONS.length)
      const seen = new Set()
      const members = []
      try {
        for (let i = 0; i < 3; i++) {
          members.push(await member(topic, assigner, seen))
          await settled(members)
        }
        const { groups } = await admin.describeGroups([topic])
        assert.equal(groups[0].state, ConsumerGroupStates.STABLE)
        assert.equal(groups[0].members.length, 3)
        assert.equal(groups[0].partitionAssignor, assigner)
        for (let i = 0; i < 2; i++) {
          await members.shift().disconnect()
          await settled(members)
        }
        const messages = Array.from({ length: 40 }, (_, i) => ({ value: String(i), partition: i % 4 }))
        await send(topic, messages)
        await until('the last member has read all', () => seen.size === 40)
        await until('all is committed', async () => {
          const [told] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
          return told.partitions.every(each => each.offset === '10')
        })
      } finally {
        await Promise.all(members.map(consumer => consumer.disconnect()))
      }
    })
  }

  check('admin-groups', async () => {
    const topic = await create('admin-groups', PARTITIONS.length)
    const consumer = await member(topic, PartitionAssigners.range, new Set())
    try {
      await settled([consumer])
      const { groups } = await admin.listGroups()
      assert.ok(groups.some(group => group.groupId === topic), 'the group is not listed')
      const why = await refused(admin.deleteGroups([topic]))
      assert.equal(why.groups[0].errorCode, ErrorCodes.ERR_NON_EMPTY_GROUP)
    } finally {
      await consumer.disconnect()
    }
    await admin.deleteGroups([topic])
    const { groups } = await admin.listGroups()
    assert.ok(!groups.some(group => group.groupId === topic), 'the group is there yet')
  })

  check('delete-records', async () => {
    const topic = await hourly('delete-records', 10)
    const before = offset => admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] })
    const [done] = await before('6')
    assert.equal(done.lowWatermark, 6)
    const [offsets] = await admin.fetchTopicOffsets(topic)
    assert.deepEqual([offsets.low, offsets.high], ['6', '10'])
    const why = await refused(before('11'))
    assert.equal(codeOf(why.partitions[0].error), ErrorCodes.ERR_OFFSET_OUT_OF_RANGE)
  })

  check('create-topic-wrong-input', async () => {
    const refusedWith = async (more, code) => {
      const why = await refused(admin.createTopics({ topics: [{ numPartitions: 1, replicationFactor: 1, ...more }] }))
      assert.equal(codeOf(why.errors[0]), code, JSON.stringify(more))
    }
    const topic = topicName('wrong')
    await refusedWith({ topic: 'no spaces, please' }, ErrorCodes.ERR_TOPIC_EXCEPTION)
    await refusedWith({ topic, replicationFactor: 7 }, ErrorCodes.ERR_INVALID_REPLICATION_FACTOR)
    const configEntries = [{ name: 'retention.ms', value: 'soon' }]
    await refusedWith({ topic, configEntries }, ErrorCodes.ERR_INVALID_CONFIG)
    assert.ok(!(await admin.listTopics()).includes(topic), 'nothing was created')
  })
}
