// AWS SDK for JavaScript v3 and sqs-consumer against the SQS listener of a broker.
//
//     node suite.mjs ENDPOINT [NAME...]
//
// Runs the checks and prints one line each; exits 1 if one failed.

import assert from 'node:assert/strict'
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  PurgeQueueCommand,
  PurgeQueueInProgress,
  QueueDoesNotExist,
  ReceiptHandleIsInvalid,
  ReceiveMessageCommand,
  SQSClient,
  SendMessageBatchCommand,
  SendMessageCommand,
  paginateListQueues,
} from '@aws-sdk/client-sqs'
import { Consumer } from 'sqs-consumer'
import { RUN, check, main, refused, until, within } from '../node/checks.mjs'

const sqs = new SQSClient({
  endpoint: process.argv[2],
  region: 'us-east-1',
  credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
  maxAttempts: 2,
})
const send = command => sqs.send(command)

async function queue(name, attributes = {}) {
  const end = name.endsWith('.fifo') ? '.fifo' : ''
  const QueueName = `node-${name.replace(/\.fifo$/, '')}-${RUN}${end}`
  const made = await send(new CreateQueueCommand({ QueueName, Attributes: attributes }))
  return made.QueueUrl
}

const receive = async (QueueUrl, more = {}) => {
  const got = await send(
    new ReceiveMessageCommand({
      QueueUrl,
      MessageSystemAttributeNames: ['All'],
      MessageAttributeNames: ['All'],
      ...more,
    }),
  )
  return got.Messages ?? []
}

const one = async (url, more = {}) =>
  (await until('a message', async () => {
    const got = await receive(url, { WaitTimeSeconds: 2, ...more })
    return got.length > 0 && got
  }))[0]

const count = async (url, name = '') => {
  const AttributeName = `ApproximateNumberOfMessages${name}`
  const told = await send(
    new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: [AttributeName] }),
  )
  return Number(told.Attributes[AttributeName])
}

// The SDK compares the digests of bodies and attributes itself, and throws where they differ.
check('send-receive-delete', async () => {
  const url = await queue('plain')
  const MessageAttributes = {
    text: { DataType: 'String', StringValue: 'wäter' },
    number: { DataType: 'Number.int', StringValue: '7' },
    bytes: { DataType: 'Binary', BinaryValue: new Uint8Array([0, 1, 255]) },
  }
  const sent = await send(
    new SendMessageCommand({ QueueUrl: url, MessageBody: 'é 🌊\n', MessageAttributes }),
  )
  const message = await one(url)
  assert.equal(message.MessageId, sent.MessageId)
  assert.equal(message.Body, 'é 🌊\n')
  assert.deepEqual(message.MessageAttributes.text, MessageAttributes.text)
  assert.deepEqual(message.MessageAttributes.number, MessageAttributes.number)
  assert.deepEqual([...message.MessageAttributes.bytes.BinaryValue], [0, 1, 255])
  assert.equal(message.Attributes.ApproximateReceiveCount, '1')
  const { ReceiptHandle } = message
  await send(new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle, VisibilityTimeout: 0 }))
  const again = await one(url)
  assert.equal(again.Attributes.ApproximateReceiveCount, '2')
  await send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle }))
  assert.equal(await count(url, 'NotVisible'), 0)
})

check('batches', async () => {
  const url = await queue('batches')
  const Entries = [...Array(10).keys()].map(i => ({
    Id: `e${i}`,
    MessageBody: `m${i}`,
    DelaySeconds: i === 9 ? 901 : undefined,
  }))
  const told = await send(new SendMessageBatchCommand({ QueueUrl: url, Entries }))
  assert.equal(told.Successful.length, 9)
  assert.deepEqual(told.Failed.map(f => [f.Id, f.Code, f.SenderFault]), [
    ['e9', 'InvalidParameterValue', true],
  ])
  const handles = new Map()
  await until('nine messages', async () => {
    for (const m of await receive(url, { MaxNumberOfMessages: 10 })) handles.set(m.Body, m.ReceiptHandle)
    return handles.size === 9
  })
  const deleted = await send(
    new DeleteMessageBatchCommand({
      QueueUrl: url,
      Entries: [...handles.values()].map((ReceiptHandle, i) => ({ Id: `${i}`, ReceiptHandle })),
    }),
  )
  assert.equal(deleted.Successful.length, 9)
})

check('modelled-errors', async () => {
  const url = await queue('errors')
  const no = async (command, kind, status) => {
    const error = await refused(send(command))
    assert.ok(error instanceof kind, `${error.name}: ${error.message}`)
    assert.equal(error.$metadata.httpStatusCode, status)
    assert.ok(error.$metadata.requestId)
    return error
  }
  await no(new GetQueueUrlCommand({ QueueName: 'nothing' }), QueueDoesNotExist, 400)
  await no(
    new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: 'x' }),
    ReceiptHandleIsInvalid,
    404,
  )
  await send(new PurgeQueueCommand({ QueueUrl: url }))
  await no(new PurgeQueueCommand({ QueueUrl: url }), PurgeQueueInProgress, 403)
  const error = await refused(
    send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 11 })),
  )
  // What the model does not know has the name of the older protocol.
  assert.equal(error.name, 'InvalidParameterValue')
  assert.equal(error.$metadata.httpStatusCode, 400)
})

check('fifo', async () => {
  const url = await queue('order.fifo', { FifoQueue: 'true', ContentBasedDeduplication: 'true' })
  const sent = []
  for (const body of ['1', '2', '2', '3'])
    sent.push(
      await send(new SendMessageCommand({ QueueUrl: url, MessageBody: body, MessageGroupId: 'g' })),
    )
  assert.equal(sent[1].MessageId, sent[2].MessageId)
  assert.ok(sent[0].SequenceNumber < sent[1].SequenceNumber)
  const got = await receive(url, { MaxNumberOfMessages: 10 })
  assert.deepEqual(got.map(m => m.Body), ['1', '2', '3'])
})

check('pages', async () => {
  const urls = await Promise.all([...Array(5).keys()].map(i => queue(`page-${i}`)))
  const found = []
  for await (const page of paginateListQueues(
    { client: sqs, pageSize: 2 },
    { QueueNamePrefix: 'node-page-' },
  ))
    found.push(...(page.QueueUrls ?? []))
  for (const url of urls) assert.ok(found.includes(url), url)
})

check('long-poll', async () => {
  const url = await queue('poll')
  const waiting = receive(url, { WaitTimeSeconds: 20 })
  await send(new SendMessageCommand({ QueueUrl: url, MessageBody: 'at last' }))
  const got = await within('the message', waiting, 10_000)
  assert.deepEqual(got.map(m => m.Body), ['at last'])
})

// What fails is not deleted, and comes back; what is done is gone.
check('sqs-consumer', async () => {
  const url = await queue('consumer', { VisibilityTimeout: '1' })
  const done = new Map()
  let failures = 0
  const consumer = Consumer.create({
    queueUrl: url,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 1,
    pollingWaitTimeMs: 0,
    handleMessage: async message => {
      if (message.Body === 'm7' && failures++ < 2) throw new Error('not yet')
      done.set(message.Body, (done.get(message.Body) ?? 0) + 1)
      return message
    },
  })
  consumer.on('error', () => {})
  consumer.on('processing_error', () => {})
  consumer.start()
  try {
    for (let first = 0; first < 50; first += 10) {
      const Entries = [...Array(10).keys()].map(i => ({ Id: `${i}`, MessageBody: `m${first + i}` }))
      await send(new SendMessageBatchCommand({ QueueUrl: url, Entries }))
    }
    await until('fifty messages', async () => done.size === 50)
    assert.equal(failures >= 3, true)
    await until('an empty queue', async () => (await count(url)) + (await count(url, 'NotVisible')) === 0)
  } finally {
    consumer.stop()
  }
})

await main(async () => {}, async () => sqs.destroy())
