"""confluent-kafka (librdkafka) against a broker.

    suite.py BOOTSTRAP [NAME...]

Runs the checks and prints one line each; exits 1 if one failed.
"""

import sys
import threading
import time

from confluent_kafka import (
    Consumer,
    ElectionType,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

import checks
from checks import DEADLINE_S, HOUR_MS, LIMIT, RUN, check, ensure, equal, noise, now_ms, text, until


class Broker:
    """The clients that the checks use, and the few steps that nearly all of them share."""

    def __init__(self, bootstrap):
        self.settings = {"bootstrap.servers": bootstrap}
        # Kept for the whole run: futures of an admin client that is collected fail with _DESTROY.
        self.admin = AdminClient(self.settings)

    def producer(self, **settings):
        return Producer(self.settings | dotted(settings))

    def consumer(self, **settings):
        defaults = {
            "group.id": f"python-unused-{RUN}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
        return Consumer(self.settings | defaults | dotted(settings))

    def topic(self, name):
        return f"python-{name}-{RUN}"

    def create(self, name, partitions=1):
        topic = self.topic(name)
        wait(self.admin.create_topics([NewTopic(topic, partitions, 1)]))
        return topic

    def send(self, topic, records, **settings):
        """Produces `records` (keyword arguments of produce) and returns what was acknowledged."""
        done = []
        producer = self.producer(**settings)
        for record in records:
            producer.produce(topic, on_delivery=lambda e, m: done.append((e, m)), **record)
            producer.poll(0)
        equal(0, producer.flush(DEADLINE_S), "records without an answer")
        for error, _ in done:
            ensure(error is None, f"delivery: {error}")
        return [message for _, message in done]

    def read(self, topic, count, partitions=1, start=0):
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, p, start) for p in range(partitions)])
        try:
            return take(consumer, count)
        finally:
            consumer.close()


def dotted(settings):
    return {name.replace("_", "."): value for name, value in settings.items()}


def wait(futures):
    for future in futures.values():
        future.result(DEADLINE_S)


def refused(futures):
    """The error code with which the one future failed."""
    (future,) = futures.values()
    try:
        future.result(DEADLINE_S)
    except KafkaException as e:
        return e.args[0].code()
    raise AssertionError("succeeded, but should have failed")


def one(consumer):
    """The next record."""

    def poll():
        message = consumer.poll(0.2)
        if message is None:
            return None
        if message.error():
            raise KafkaException(message.error())
        return message

    return until("a record came", poll)


def take(consumer, count):
    return [one(consumer) for _ in range(count)]


def values(messages):
    return [m.value() for m in messages]


@check("auto-created-topic")
def auto_created_topic(broker):
    topic = broker.topic("auto")
    (stored,) = broker.send(topic, [{"key": b"k", "value": b"v"}])
    equal(0, stored.offset(), "offset of the first record")
    equal([b"v"], values(broker.read(topic, 1)), "value")


@check("create-delete-topic")
def create_delete_topic(broker):
    admin = broker.admin
    topic = broker.create("create", 3)

    def listed():
        return admin.list_topics(timeout=10).topics.get(topic)

    found = until("listed", listed)
    equal(3, len(found.partitions), "partitions")
    again = refused(admin.create_topics([NewTopic(topic, 3, 1)]))
    equal(KafkaError.TOPIC_ALREADY_EXISTS, again, "second create_topics")
    wait(admin.delete_topics([topic]))
    until("gone", lambda: listed() is None)
    again = refused(admin.delete_topics([topic]))
    equal(KafkaError.UNKNOWN_TOPIC_OR_PART, again, "second delete_topics")


def codec_check(codec):
    def run(broker):
        topic = broker.create(f"codec-{codec}")
        records = [{"key": b"key-%d" % i, "value": text(i)} for i in range(500)]
        stored = broker.send(topic, records, compression_type=codec, linger_ms=20)
        equal(list(range(500)), [m.offset() for m in stored], "offsets")
        got = broker.read(topic, 500)
        equal(records, [{"key": m.key(), "value": m.value()} for m in got], "records")

    check(f"codec-{codec}")(run)


for each in ("none", "gzip", "snappy", "lz4", "zstd"):
    codec_check(each)


@check("headers")
def headers(broker):
    topic = broker.create("headers")
    sent = [("twice", b"one"), ("none", None), ("twice", b"two"), ("empty", b""), ("물길", "물".encode())]
    broker.send(topic, [{"value": b"v", "headers": sent}])
    (got,) = broker.read(topic, 1)
    equal(sent, got.headers(), "headers")


@check("null-key-and-value")
def nulls(broker):
    topic = broker.create("nulls")
    records = [
        {"key": None, "value": b"no key"},
        {"key": b"no value", "value": None},
        {"key": None, "value": None},
        {"key": b"", "value": b""},
    ]
    broker.send(topic, records)
    got = broker.read(topic, 4)
    equal(records, [{"key": m.key(), "value": m.value()} for m in got], "records")


@check("keyed-partitions")
def keyed_partitions(broker):
    topic = broker.create("keyed", 4)
    broker.send(topic, [{"key": b"key-%d" % (i % 37), "value": b"%d" % i} for i in range(400)])
    partition_of, offset_in, last_of = {}, {}, {}
    for m in broker.read(topic, 400, partitions=4):
        equal(partition_of.setdefault(m.key(), m.partition()), m.partition(), f"partition of {m.key()}")
        expected = offset_in.get(m.partition(), 0)
        equal(expected, m.offset(), "offset")
        offset_in[m.partition()] = expected + 1
        ensure(last_of.get(m.key(), -1) < int(m.value()), f"order of {m.key()}")
        last_of[m.key()] = int(m.value())
    equal(4, len(offset_in), "partitions in use")


def acks_check(acks):
    def run(broker):
        topic = broker.create(f"acks-{acks}")
        records = [{"value": b"value %d" % i} for i in range(20)]
        broker.send(topic, records, acks=acks)
        equal([r["value"] for r in records], values(broker.read(topic, 20)), "values")

    check(f"acks-{acks}")(run)


for each in ("0", "1", "all"):
    acks_check(each)


@check("idempotent-concurrent")
def idempotent_concurrent(broker):
    topic = broker.create("idempotent", 2)
    producer = broker.producer(
        enable_idempotence=True, linger_ms=0, batch_num_messages=20, queue_buffering_max_messages=100000
    )
    failed = []

    def run(thread):
        for i in range(1000):
            value = f"{thread} {i}".encode()
            producer.produce(
                topic, value, partition=thread % 2, on_delivery=lambda e, _: failed.append(e) if e else None
            )
            producer.poll(0)

    threads = [threading.Thread(target=run, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(0, producer.flush(DEADLINE_S), "records without an answer")
    equal([], failed, "failed deliveries")
    following = [0, 0, 0, 0]
    for m in broker.read(topic, 4000, partitions=2):
        thread, number = map(int, m.value().split())
        equal(following[thread], number, f"next of thread {thread}")
        following[thread] += 1


@check("large-message")
def large_message(broker):
    topic = broker.create("large")
    value = noise(LIMIT - 100)
    broker.send(topic, [{"value": value}], message_max_bytes=4 * LIMIT)
    ensure(values(broker.read(topic, 1)) == [value], "the bytes differ")


@check("too-large-message")
def too_large_message(broker):
    topic = broker.create("too-large")
    done = []
    producer = broker.producer(message_max_bytes=4 * LIMIT)
    producer.produce(topic, noise(LIMIT + 1), on_delivery=lambda e, _: done.append(e))
    equal(0, producer.flush(DEADLINE_S), "records without an answer")
    equal(KafkaError.MSG_SIZE_TOO_LARGE, done[0] and done[0].code(), "error")
    producer.produce(topic, b"small", on_delivery=lambda e, _: done.append(e))
    equal(0, producer.flush(DEADLINE_S), "records without an answer")
    equal(None, done[1], "error of a small one afterwards")
    equal([b"small"], values(broker.read(topic, 1)), "values")


def hourly(broker, name, count, now_ms):
    """A topic of one partition with records 0, 1 ... an hour apart, the last one at `now_ms`."""
    topic = broker.create(name)
    for i in range(count):
        record = {"value": b"%d" % i, "partition": 0, "timestamp": now_ms - (count - 1 - i) * HOUR_MS}
        broker.send(topic, [record])
    return topic


@check("seek")
def seek(broker):
    topic = hourly(broker, "seek", 10, now_ms())
    consumer = broker.consumer()
    consumer.assign([TopicPartition(topic, 0, 0)])
    equal(0, one(consumer).offset(), "first from the beginning")
    consumer.seek(TopicPartition(topic, 0, 7))
    equal(7, one(consumer).offset(), "first from 7")
    equal((0, 10), consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10), "watermarks")
    consumer.close()
    consumer = broker.consumer(enable_partition_eof=True)
    consumer.assign([TopicPartition(topic, 0, -1)])

    def end():
        message = consumer.poll(0.2)
        return message if message and message.error() else None

    eof = until("end of partition", end)
    equal(KafkaError._PARTITION_EOF, eof.error().code(), "what is at the end")
    equal(10, eof.offset(), "position at the end")
    consumer.close()


@check("seek-timestamp")
def seek_timestamp(broker):
    now = now_ms()
    topic = hourly(broker, "by-time", 10, now)
    consumer = broker.consumer()

    def offset_at(time_ms):
        return consumer.offsets_for_times([TopicPartition(topic, 0, time_ms)], timeout=10)[0].offset

    for i in range(10):
        exact = now - (9 - i) * HOUR_MS
        for asked in (exact, exact - 1, exact - HOUR_MS + 1):
            equal(i, offset_at(asked), f"offset for {asked}")
    equal(-1, offset_at(now + 1), "nothing is as young as that")
    consumer.close()
    (got,) = broker.read(topic, 1, start=6)
    equal((1, now - 3 * HOUR_MS), got.timestamp(), "timestamp of the record found")


@check("out-of-range-reset")
def out_of_range(broker):
    topic = hourly(broker, "range", 5, now_ms())
    equal(0, broker.read(topic, 1, start=1000)[0].offset(), "reset to the earliest")
    consumer = broker.consumer(auto_offset_reset="error")
    consumer.assign([TopicPartition(topic, 0, 1000)])
    try:
        one(consumer)
    except KafkaException as e:
        equal(KafkaError._AUTO_OFFSET_RESET, e.args[0].code(), "error without a reset policy")
    else:
        raise AssertionError("no error without a reset policy")
    finally:
        consumer.close()


@check("group-resume")
def group_resume(broker):
    topic = hourly(broker, "group", 10, now_ms())
    consumer = broker.consumer(group_id=topic)
    consumer.subscribe([topic])
    take(consumer, 4)
    consumer.commit(offsets=[TopicPartition(topic, 0, 4, metadata="four done")], asynchronous=False)
    (committed,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    equal((4, "four done"), (committed.offset, committed.metadata), "committed")
    consumer.close()
    consumer = broker.consumer(group_id=topic)
    consumer.subscribe([topic])
    equal(4, take(consumer, 6)[0].offset(), "goes on at the committed offset")
    consumer.commit(asynchronous=False)
    consumer.close()
    consumer = broker.consumer(group_id=topic)
    (committed,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    equal(10, committed.offset, "all is committed")
    consumer.close()


@check("manual-assign-commit")
def manual_assign(broker):
    topic = broker.create("assign", 2)
    broker.send(topic, [{"value": b"%d" % i, "partition": i % 2} for i in range(10)])
    consumer = broker.consumer(group_id=topic)
    consumer.assign([TopicPartition(topic, 1)])
    equal({1}, {m.partition() for m in take(consumer, 5)}, "only what was assigned")
    consumer.commit(asynchronous=False)
    (committed,) = consumer.committed([TopicPartition(topic, 1)], timeout=10)
    equal(5, committed.offset, "committed")
    consumer.close()


@check("long-poll")
def long_poll(broker):
    topic = broker.create("long-poll")
    consumer = broker.consumer(fetch_wait_max_ms=20_000, enable_partition_eof=True)
    consumer.assign([TopicPartition(topic, 0, 0)])
    # The end of the partition is told from the first, empty answer; the next fetch waits.
    until("end of partition", lambda: consumer.poll(0.2))
    equal(None, consumer.poll(0.5), "nothing is there")
    sent = time.monotonic()
    broker.send(topic, [{"value": b"at last"}])
    equal(b"at last", one(consumer).value(), "value")
    waited = time.monotonic() - sent
    ensure(waited < 10, f"came only after {waited:.1f} s, so nobody was woken")
    consumer.close()


@check("unknown-topic")
def unknown_topic(broker):
    topic = broker.topic("unknown")
    consumer = broker.consumer(allow_auto_create_topics=False)
    consumer.subscribe([topic])
    try:
        one(consumer)
    except KafkaException as e:
        equal(KafkaError.UNKNOWN_TOPIC_OR_PART, e.args[0].code(), "error of the subscription")
    else:
        raise AssertionError("a record of no topic")
    finally:
        consumer.close()
    ensure(topic not in broker.admin.list_topics(timeout=10).topics, "asking for it created it")


def settings_of(broker, topic):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    (future,) = broker.admin.describe_configs([resource]).values()
    return future.result(DEADLINE_S)


def edit(broker, topic, name, value, operation):
    entry = ConfigEntry(name, value, incremental_operation=operation)
    kind = ConfigResource.Type.TOPIC
    resource = ConfigResource(kind, topic, incremental_configs=[entry])
    return broker.admin.incremental_alter_configs([resource])


@check("configs")
def configs(broker):
    topic = broker.create("configs")
    wait(edit(broker, topic, "retention.ms", "5000000", AlterConfigOpType.SET))
    shown = until(
        "the setting shows",
        lambda: (c := settings_of(broker, topic)["retention.ms"]).value == "5000000" and c,
    )
    equal(1, shown.source, "set for the topic")
    ensure("log.retention.ms" in shown.synonyms or len(shown.synonyms) == 1, "synonyms")
    wait(edit(broker, topic, "retention.ms", None, AlterConfigOpType.DELETE))
    until(
        "the default shows",
        lambda: settings_of(broker, topic)["retention.ms"].value == "604800000",
    )
    code = refused(edit(broker, topic, "no.such.setting", "1", AlterConfigOpType.SET))
    equal(KafkaError.INVALID_CONFIG, code, "a setting that there is not")
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    resource.set_config("max.message.bytes", "2000")
    wait(broker.admin.alter_configs([resource]))
    until(
        "the older request",
        lambda: settings_of(broker, topic)["max.message.bytes"].value == "2000",
    )


@check("create-partitions")
def create_partitions(broker):
    topic = broker.create("grow")
    wait(broker.admin.create_partitions([NewPartitions(topic, 3)]))
    until(
        "three partitions",
        lambda: len(broker.admin.list_topics(topic, timeout=10).topics[topic].partitions) == 3,
    )
    code = refused(broker.admin.create_partitions([NewPartitions(topic, 2)]))
    equal(KafkaError.INVALID_PARTITIONS, code, "fewer partitions")


@check("elect-leaders")
def elect_leaders(broker):
    topic = broker.create("elect")
    partition = TopicPartition(topic, 0)
    future = broker.admin.elect_leaders(ElectionType.PREFERRED, [partition])
    ((_, error),) = future.result(DEADLINE_S).items()
    equal(KafkaError.ELECTION_NOT_NEEDED, error.code(), "an election of the only broker")


@check("compacted-topic-without-key")
def compacted_without_key(broker):
    topic = broker.topic("compacted")
    config = {"cleanup.policy": "compact", "compression.type": "zstd"}
    wait(broker.admin.create_topics([NewTopic(topic, 1, 1, config=config)]))
    outcome = []
    producer = broker.producer()
    producer.produce(topic, b"v", on_delivery=lambda error, _: outcome.append(error))
    producer.flush(DEADLINE_S)
    equal(KafkaError.INVALID_RECORD, outcome[0].code(), "a record without a key")
    broker.send(topic, [{"key": b"k", "value": b"v"}])


if __name__ == "__main__":
    broker = Broker(sys.argv[1])
    sys.exit(checks.main(lambda function: function(broker)))
