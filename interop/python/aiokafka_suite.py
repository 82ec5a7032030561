"""aiokafka against a broker.

    aiokafka_suite.py BOOTSTRAP [NAME...]

Runs the checks and prints one line each; exits 1 if one failed. Each check is a coroutine with an
event loop of its own.
"""

import asyncio
import sys
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

import checks
from checks import DEADLINE_S, HOUR_MS, JAVA_PARTITIONS_OF_4, LIMIT, RUN, check, ensure, equal, noise, now_ms, text


@asynccontextmanager
async def started(client, end):
    await client.start()
    try:
        yield client
    finally:
        await getattr(client, end)()


class Broker:
    """The clients that the checks use, and the few steps that nearly all of them share."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def admin(self):
        return started(AIOKafkaAdminClient(bootstrap_servers=self.bootstrap), "close")

    def producer(self, **settings):
        return started(AIOKafkaProducer(bootstrap_servers=self.bootstrap, **settings), "stop")

    def consumer(self, *topics, **settings):
        settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False} | settings
        return started(AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **settings), "stop")

    def member(self, topic):
        return self.consumer(topic, group_id=topic, session_timeout_ms=6000, heartbeat_interval_ms=300)

    def topic(self, name):
        return f"aiokafka-{name}-{RUN}"

    async def create(self, name, partitions=1):
        topic = self.topic(name)
        async with self.admin() as admin:
            created(await admin.create_topics([NewTopic(topic, partitions, 1)]))
        return topic

    async def send(self, topic, records, **settings):
        """Produces `records` (keyword arguments of send) and returns what was acknowledged."""
        async with self.producer(**settings) as producer:
            pending = [await producer.send(topic, **record) for record in records]
            return [await asyncio.wait_for(future, DEADLINE_S) for future in pending]

    async def read(self, topic, count, partitions=1, start=0):
        async with self.consumer() as consumer:
            assigned = [TopicPartition(topic, p) for p in range(partitions)]
            consumer.assign(assigned)
            for partition in assigned:
                consumer.seek(partition, start)
            return await take(consumer, count)


def created(answer):
    """Raises what the answer says about its one topic; this client leaves that to its user."""
    ((_, code, *_),) = answer.topics if hasattr(answer, "topics") else answer.topic_errors
    if code:
        raise errors.for_code(code)()


def deleted(answer):
    ((_, code),) = answer.topic_error_codes
    if code:
        raise errors.for_code(code)()


async def take(consumer, count):
    return [await asyncio.wait_for(consumer.getone(), DEADLINE_S) for _ in range(count)]


async def until(what, condition):
    """Waits until the coroutine function `condition` gives something true."""

    async def loop():
        while not await condition():
            await asyncio.sleep(0.02)

    try:
        await asyncio.wait_for(loop(), DEADLINE_S)
    except asyncio.TimeoutError:
        raise AssertionError(f"not in {DEADLINE_S} s: {what}") from None


async def refused(error, awaitable):
    try:
        await awaitable
    except error:
        return
    raise AssertionError(f"succeeded, but should have failed with {error.__name__}")


def values(records):
    return [r.value for r in records]


@check("auto-created-topic")
async def auto_created_topic(broker):
    topic = broker.topic("auto")
    (stored,) = await broker.send(topic, [{"key": b"k", "value": b"v"}])
    equal(0, stored.offset, "offset of the first record")
    equal([b"v"], values(await broker.read(topic, 1)), "value")


@check("create-delete-topic")
async def create_delete_topic(broker):
    topic = await broker.create("create", 3)
    await refused(errors.TopicAlreadyExistsError, broker.create("create", 3))
    await refused(errors.InvalidTopicError, broker.create("no spaces, please"))
    await refused(errors.InvalidPartitionsError, broker.create("none", 0))
    async with broker.admin() as admin:
        (found,) = await admin.describe_topics([topic])
        equal(3, len(found["partitions"]), "partitions")
        deleted(await admin.delete_topics([topic]))

        async def gone():
            return topic not in await admin.list_topics()

        await until("gone", gone)
        answer = await admin.delete_topics([topic])
        equal(3, answer.topic_error_codes[0][1], "second delete_topics: unknown topic")


def codec_check(codec):
    @check(f"codec-{codec}")
    async def run(broker):
        topic = await broker.create(f"codec-{codec}")
        records = [{"key": b"key-%d" % i, "value": text(i)} for i in range(500)]
        compression = None if codec == "none" else codec
        stored = await broker.send(topic, records, compression_type=compression, linger_ms=20)
        equal(list(range(500)), [m.offset for m in stored], "offsets")
        got = await broker.read(topic, 500)
        equal(records, [{"key": m.key, "value": m.value} for m in got], "records")


for each in ("none", "gzip", "snappy", "lz4", "zstd"):
    codec_check(each)


@check("headers")
async def headers(broker):
    topic = await broker.create("headers")
    sent = [("twice", b"one"), ("none", None), ("twice", b"two"), ("empty", b""), ("물길", "물".encode())]
    await broker.send(topic, [{"value": b"v", "headers": sent}])
    (got,) = await broker.read(topic, 1)
    equal(sent, list(got.headers), "headers")


@check("null-key-and-value")
async def nulls(broker):
    topic = await broker.create("nulls")
    # This client refuses to send a record with neither.
    records = [{"key": None, "value": b"no key"}, {"key": b"no value", "value": None}, {"key": b"", "value": b""}]
    await broker.send(topic, records)
    got = await broker.read(topic, 3)
    equal(records, [{"key": m.key, "value": m.value} for m in got], "records")


@check("keyed-partitions")
async def keyed_partitions(broker):
    topic = await broker.create("keyed", 4)
    stored = await broker.send(topic, [{"key": key, "value": b"v"} for key in JAVA_PARTITIONS_OF_4])
    equal(list(JAVA_PARTITIONS_OF_4.values()), [m.partition for m in stored], "partitions, as Java has them")
    got = await broker.read(topic, len(JAVA_PARTITIONS_OF_4), partitions=4)
    equal(JAVA_PARTITIONS_OF_4, {m.key: m.partition for m in got}, "where they are read")


def acks_check(acks):
    @check(f"acks-{acks}")
    async def run(broker):
        topic = await broker.create(f"acks-{acks}")
        records = [{"value": b"value %d" % i} for i in range(20)]
        await broker.send(topic, records, acks=acks)
        equal([r["value"] for r in records], values(await broker.read(topic, 20)), "values")


for each in (0, 1, "all"):
    acks_check(each)


@check("idempotent-concurrent")
async def idempotent_concurrent(broker):
    topic = await broker.create("idempotent", 2)
    async with broker.producer(enable_idempotence=True, max_batch_size=600) as producer:

        async def run(task):
            pending = []
            for i in range(300):
                pending.append(await producer.send(topic, f"{task} {i}".encode(), partition=task % 2))
            await asyncio.gather(*pending)

        await asyncio.wait_for(asyncio.gather(*(run(task) for task in range(4))), DEADLINE_S)
    following = [0, 0, 0, 0]
    for m in await broker.read(topic, 1200, partitions=2):
        task, number = map(int, m.value.split())
        equal(following[task], number, f"next of task {task}")
        following[task] += 1


@check("large-and-too-large-message")
async def large_message(broker):
    topic = await broker.create("large")
    value = noise(LIMIT - 100)
    await broker.send(topic, [{"value": value}], max_request_size=4 * LIMIT)
    too_large = broker.send(topic, [{"value": noise(LIMIT + 1)}], max_request_size=4 * LIMIT)
    await refused(errors.MessageSizeTooLargeError, too_large)
    await broker.send(topic, [{"value": b"small"}])
    ensure(values(await broker.read(topic, 2)) == [value, b"small"], "the bytes differ")


@check("seek-timestamp")
async def seek_timestamp(broker):
    now = now_ms()
    topic = await broker.create("by-time")
    for i in range(10):
        record = {"value": b"%d" % i, "partition": 0, "timestamp_ms": now - (9 - i) * HOUR_MS}
        await broker.send(topic, [record])
    partition = TopicPartition(topic, 0)
    async with broker.consumer() as consumer:
        consumer.assign([partition])
        for i in range(10):
            exact = now - (9 - i) * HOUR_MS
            for asked in (exact, exact - 1, exact - HOUR_MS + 1):
                found = (await consumer.offsets_for_times({partition: asked}))[partition]
                equal((i, exact), (found.offset, found.timestamp), f"what is found for {asked}")
        found = await consumer.offsets_for_times({partition: now + 1})
        equal(None, found[partition], "nothing is as young as that")
        consumer.seek(partition, 6)
        (got,) = await take(consumer, 1)
        equal((6, now - 3 * HOUR_MS), (got.offset, got.timestamp), "record found")
        equal({partition: 10}, await consumer.end_offsets([partition]), "end")


@check("out-of-range-reset")
async def out_of_range(broker):
    topic = await broker.create("range")
    await broker.send(topic, [{"value": b"%d" % i} for i in range(5)])
    (got,) = await broker.read(topic, 1, start=1000)
    equal(0, got.offset, "reset to the earliest")
    async with broker.consumer(auto_offset_reset="none") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 1000)
        await refused(errors.OffsetOutOfRangeError, take(consumer, 1))


@check("group-resume")
async def group_resume(broker):
    topic = await broker.create("group")
    await broker.send(topic, [{"value": b"%d" % i} for i in range(10)])
    partition = TopicPartition(topic, 0)
    async with broker.member(topic) as consumer:
        await take(consumer, 4)
        await consumer.commit({partition: (4, "four done")})
        equal(4, await consumer.committed(partition), "committed")
    async with broker.member(topic) as consumer:
        equal(4, (await take(consumer, 6))[0].offset, "goes on at the committed offset")
        await consumer.commit()
    async with broker.admin() as admin:
        told = await admin.list_consumer_group_offsets(topic)
        equal({partition: 10}, {p: o.offset for p, o in told.items()}, "committed by the admin client")
        ensure((topic, "consumer") in await admin.list_consumer_groups(), "the group is not listed")


@check("rebalance-join-leave")
async def rebalance(broker):
    topic = await broker.create("rebalance", 4)
    async with broker.member(topic) as last:
        async with broker.member(topic) as second, broker.member(topic) as third:
            members = [last, second, third]

            async def shared():
                owned = [{p.partition for p in member.assignment()} for member in members]
                return all(owned) and sorted(p for own in owned for p in own) == [0, 1, 2, 3]

            await until("three members share four partitions", shared)
        await broker.send(topic, [{"value": b"%d" % i, "partition": i % 4} for i in range(40)])
        wanted, seen = {(p, o) for p in range(4) for o in range(10)}, set()

        # A record may come twice: nothing was committed before the others left.
        async def all_seen():
            seen.update((m.partition, m.offset) for m in await take(last, 1))
            return seen == wanted

        await until("the last member has read all", all_seen)


@check("delete-records")
async def delete_records(broker):
    topic = await broker.create("delete-records")
    partition = TopicPartition(topic, 0)
    await broker.send(topic, [{"value": b"%d" % i} for i in range(10)])
    async with broker.admin() as admin:
        told = await admin.delete_records({partition: RecordsToDelete(before_offset=6)})
        equal({partition: 6}, told, "low watermark")
    equal([6, 7, 8, 9], [r.offset for r in await broker.read(topic, 4, start=0)], "what is left")


if __name__ == "__main__":
    broker = Broker(sys.argv[1])
    sys.exit(checks.main(lambda function: asyncio.run(function(broker))))
