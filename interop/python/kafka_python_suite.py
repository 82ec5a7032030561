"""kafka-python against a broker.

    kafka_python_suite.py BOOTSTRAP [NAME...]

Runs the checks and prints one line each; exits 1 if one failed.
"""

import subprocess
import sys
import threading

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors
from kafka.structs import OffsetAndMetadata

import checks
from checks import DEADLINE_S, HOUR_MS, JAVA_PARTITIONS_OF_4, LIMIT, RUN, check, ensure, equal, noise, now_ms, text, until


class Broker:
    """The clients that the checks use, and the few steps that nearly all of them share."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def topic(self, name):
        return f"kafka-python-{name}-{RUN}"

    def create(self, name, partitions=1):
        topic = self.topic(name)
        self.admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}})
        return topic

    def send(self, topic, records, **settings):
        """Produces `records` (keyword arguments of send) and returns what was acknowledged."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, **settings)
        try:
            pending = [producer.send(topic, **record) for record in records]
            return [future.get(DEADLINE_S) for future in pending]
        finally:
            producer.close(DEADLINE_S)

    def consumer(self, **settings):
        settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False} | settings
        return KafkaConsumer(bootstrap_servers=self.bootstrap, **settings)

    def member(self, topic, group, **settings):
        consumer = self.consumer(group_id=group, session_timeout_ms=6000, heartbeat_interval_ms=500, **settings)
        consumer.subscribe([topic])
        return consumer

    def read(self, topic, count, partitions=1, start=0):
        consumer = self.consumer()
        assigned = [TopicPartition(topic, p) for p in range(partitions)]
        consumer.assign(assigned)
        for partition in assigned:
            consumer.seek(partition, start)
        try:
            return take(consumer, count)
        finally:
            consumer.close()


def poll(consumer, **more):
    return [record for batch in consumer.poll(200, **more).values() for record in batch]


def take(consumer, count):
    """The next `count` records, and not one more."""
    records = []

    def enough():
        records.extend(poll(consumer, max_records=count - len(records)))
        return len(records) >= count

    until(f"{count} records came", enough)
    return records


def values(records):
    return [r.value for r in records]


def refused(error, ask):
    try:
        ask()
    except error as e:
        return e
    raise AssertionError(f"succeeded, but should have failed with {error.__name__}")


@check("auto-created-topic")
def auto_created_topic(broker):
    topic = broker.topic("auto")
    (stored,) = broker.send(topic, [{"key": b"k", "value": b"v"}])
    equal(0, stored.offset, "offset of the first record")
    equal([b"v"], values(broker.read(topic, 1)), "value")


@check("create-describe-delete-topic")
def create_delete_topic(broker):
    topic = broker.create("create", 3)
    until("listed", lambda: topic in broker.admin.list_topics())
    (found,) = broker.admin.describe_topics([topic])
    equal(3, len(found["partitions"]), "partitions")
    again = {topic: {"num_partitions": 3, "replication_factor": 1}}
    refused(errors.TopicAlreadyExistsError, lambda: broker.admin.create_topics(again))
    broker.admin.delete_topics([topic])
    until("gone", lambda: topic not in broker.admin.list_topics())
    refused(errors.UnknownTopicOrPartitionError, lambda: broker.admin.delete_topics([topic]))


@check("create-topic-wrong-input")
def create_wrong(broker):
    def create(name, **options):
        options = {"num_partitions": 1, "replication_factor": 1} | options
        return lambda: broker.admin.create_topics({name: options})

    refused(errors.InvalidTopicError, create("no spaces, please"))
    refused(errors.InvalidPartitionsError, create(broker.topic("none"), num_partitions=0))
    refused(errors.InvalidReplicationFactorError, create(broker.topic("three"), replication_factor=3))
    refused(errors.InvalidConfigurationError, create(broker.topic("config"), configs={"no.such.config": "1"}))


def codec_check(codec):
    @check(f"codec-{codec}")
    def run(broker):
        topic = broker.create(f"codec-{codec}")
        records = [{"key": b"key-%d" % i, "value": text(i)} for i in range(500)]
        compression = None if codec == "none" else codec
        stored = broker.send(topic, records, compression_type=compression, linger_ms=20)
        equal(list(range(500)), [m.offset for m in stored], "offsets")
        got = broker.read(topic, 500)
        equal(records, [{"key": m.key, "value": m.value} for m in got], "records")


for each in ("none", "gzip", "snappy", "lz4", "zstd"):
    codec_check(each)


@check("headers")
def headers(broker):
    topic = broker.create("headers")
    # This client refuses to send a header without a value.
    sent = [("twice", b"one"), ("twice", b"two"), ("empty", b""), ("물길", "물".encode())]
    broker.send(topic, [{"value": b"v", "headers": sent}])
    (got,) = broker.read(topic, 1)
    equal(sent, list(got.headers), "headers")


@check("null-key-and-value")
def nulls(broker):
    topic = broker.create("nulls")
    # This client refuses to send a record with neither.
    records = [{"key": None, "value": b"no key"}, {"key": b"no value", "value": None}, {"key": b"", "value": b""}]
    broker.send(topic, records)
    equal(records, [{"key": m.key, "value": m.value} for m in broker.read(topic, 3)], "records")


@check("keyed-partitions")
def keyed_partitions(broker):
    topic = broker.create("keyed", 4)
    stored = broker.send(topic, [{"key": key, "value": b"v"} for key in JAVA_PARTITIONS_OF_4])
    equal(list(JAVA_PARTITIONS_OF_4.values()), [m.partition for m in stored], "partitions, as Java has them")
    keys = [b"key-%d" % (i % 37) for i in range(400)]
    stored = broker.send(topic, [{"key": key, "value": b"%d" % i} for i, key in enumerate(keys)])
    equal(set(range(4)), {m.partition for m in stored}, "partitions in use")
    last_of = {}
    for m in broker.read(topic, 400 + len(JAVA_PARTITIONS_OF_4), partitions=4):
        if m.value == b"v":
            continue
        equal((m.partition, m.offset), (stored[int(m.value)].partition, stored[int(m.value)].offset), "place")
        ensure(last_of.get(m.key, -1) < int(m.value), f"order of {m.key}")
        last_of[m.key] = int(m.value)


def acks_check(acks):
    @check(f"acks-{acks}")
    def run(broker):
        topic = broker.create(f"acks-{acks}")
        records = [{"value": b"value %d" % i} for i in range(20)]
        broker.send(topic, records, acks=acks, enable_idempotence=False)
        equal([r["value"] for r in records], values(broker.read(topic, 20)), "values")


for each in (0, 1, "all"):
    acks_check(each)


@check("idempotent-concurrent")
def idempotent_concurrent(broker):
    topic = broker.create("idempotent", 2)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, enable_idempotence=True, batch_size=600)
    pending = [[] for _ in range(4)]

    def run(thread):
        for i in range(300):
            pending[thread].append(producer.send(topic, f"{thread} {i}".encode(), partition=thread % 2))

    threads = [threading.Thread(target=run, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for future in sum(pending, []):
        future.get(DEADLINE_S)
    producer.close(DEADLINE_S)
    following = [0, 0, 0, 0]
    for m in broker.read(topic, 1200, partitions=2):
        thread, number = map(int, m.value.split())
        equal(following[thread], number, f"next of thread {thread}")
        following[thread] += 1


@check("large-message")
def large_message(broker):
    topic = broker.create("large")
    value = noise(LIMIT - 100)
    broker.send(topic, [{"value": value}], max_request_size=4 * LIMIT)
    ensure(values(broker.read(topic, 1)) == [value], "the bytes differ")


@check("too-large-message")
def too_large_message(broker):
    topic = broker.create("too-large")
    send = lambda value: broker.send(topic, [{"value": value}], max_request_size=4 * LIMIT)
    refused(errors.MessageSizeTooLargeError, lambda: send(noise(LIMIT + 1)))
    send(b"small")
    equal([b"small"], values(broker.read(topic, 1)), "values")


@check("seek-timestamp")
def seek_timestamp(broker):
    now = now_ms()
    topic = broker.create("by-time")
    for i in range(10):
        broker.send(topic, [{"value": b"%d" % i, "partition": 0, "timestamp_ms": now - (9 - i) * HOUR_MS}])
    consumer, partition = broker.consumer(), TopicPartition(topic, 0)
    consumer.assign([partition])
    for i in range(10):
        exact = now - (9 - i) * HOUR_MS
        for asked in (exact, exact - 1, exact - HOUR_MS + 1):
            found = consumer.offsets_for_times({partition: asked})[partition]
            equal((i, exact), (found.offset, found.timestamp), f"what is found for {asked}")
    equal(None, consumer.offsets_for_times({partition: now + 1})[partition], "nothing is as young as that")
    consumer.seek(partition, 6)
    (got,) = take(consumer, 1)
    equal((6, now - 3 * HOUR_MS), (got.offset, got.timestamp), "record found")
    equal({partition: 0}, consumer.beginning_offsets([partition]), "beginning")
    equal({partition: 10}, consumer.end_offsets([partition]), "end")
    consumer.close()


@check("out-of-range-reset")
def out_of_range(broker):
    topic = broker.create("range")
    broker.send(topic, [{"value": b"%d" % i} for i in range(5)])
    equal(0, broker.read(topic, 1, start=1000)[0].offset, "reset to the earliest")
    consumer, partition = broker.consumer(auto_offset_reset="none"), TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 1000)
    refused(errors.OffsetOutOfRangeError, lambda: take(consumer, 1))
    consumer.close()


@check("group-resume")
def group_resume(broker):
    topic = broker.create("group")
    broker.send(topic, [{"value": b"%d" % i} for i in range(10)])
    partition = TopicPartition(topic, 0)
    consumer = broker.member(topic, topic)
    take(consumer, 4)
    consumer.commit({partition: OffsetAndMetadata(4, "four done", -1)})
    equal((4, "four done"), consumer.committed(partition, metadata=True)[:2], "committed")
    consumer.close()
    consumer = broker.member(topic, topic)
    equal(4, take(consumer, 6)[0].offset, "goes on at the committed offset")
    consumer.commit()
    consumer.close()
    told = broker.admin.list_group_offsets({topic: None})[topic]
    equal({partition: 10}, {p: o.offset for p, o in told.items()}, "committed offsets by the admin client")


class Member:
    """A member of a group with a thread of its own, since one that joins waits for the others."""

    def __init__(self, broker, topic, group):
        self.owned, self.seen, self.failure = set(), set(), None
        self.leave = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(broker, topic, group), daemon=True)
        self.thread.start()

    def run(self, broker, topic, group):
        try:
            consumer = broker.member(topic, group)
            while not self.leave.is_set():
                self.seen |= {(r.partition, r.offset) for r in poll(consumer)}
                self.owned = {p.partition for p in consumer.assignment()}
                if self.seen and self.owned:
                    consumer.commit()
            consumer.close()
        except errors.CommitFailedError as e:
            self.failure = None if self.leave.is_set() else e
        except Exception as e:  # told by the check, which looks
            self.failure = e

    def end(self):
        self.leave.set()
        self.thread.join(DEADLINE_S)
        ensure(not self.thread.is_alive(), "a member does not leave")


def settled(members, partitions):
    """Waits until each partition belongs to one member, and each member has some."""

    def condition():
        for member in members:
            ensure(member.failure is None, f"a member failed: {member.failure!r}")
        owned = [set(member.owned) for member in members]
        return all(owned) and sorted(p for own in owned for p in own) == list(range(partitions))

    until(f"{len(members)} members share {partitions} partitions", condition)


@check("rebalance-join-leave")
def rebalance(broker):
    topic = broker.create("rebalance", 4)
    members = []
    for _ in range(3):
        members.append(Member(broker, topic, topic))
        settled(members, 4)
    (told,) = broker.admin.describe_groups([topic]).values()
    equal(3, len(told["members"]), "members by the admin client")
    for _ in range(2):
        members.pop(0).end()
        settled(members, 4)
    broker.send(topic, [{"value": b"%d" % i, "partition": i % 4} for i in range(40)])
    wanted = {(p, o) for p in range(4) for o in range(10)}
    until("the last member has read all", lambda: wanted == set(members[0].seen))
    members[0].end()


# A member in a process of its own, which says what it has processed and committed.
MEMBER = """
import sys
from kafka import KafkaConsumer
consumer = KafkaConsumer(sys.argv[2], bootstrap_servers=sys.argv[1], group_id=sys.argv[2], session_timeout_ms=6000,
    heartbeat_interval_ms=500, auto_offset_reset="earliest", enable_auto_commit=False, max_poll_records=5)
while True:
    for batch in consumer.poll(200).values():
        for r in batch:
            print(r.partition, r.offset, flush=True)
        consumer.commit()
"""


@check("killed-member")
def killed_member(broker):
    topic = broker.create("killed", 2)
    broker.send(topic, [{"value": b"%d" % i, "partition": i % 2} for i in range(200)])
    command = [sys.executable, "-c", MEMBER, broker.bootstrap, topic]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = [child.stdout.readline() for _ in range(37)]
    child.kill()
    lines += child.stdout.read().splitlines()
    child.wait()
    seen = {tuple(map(int, line.split())) for line in lines if len(line.split()) == 2}
    before = len(seen)
    ensure(before >= 37, f"the member said {before} records before it was killed")
    consumer = broker.member(topic, topic)
    wanted = {(p, o) for p in range(2) for o in range(100)}

    def all_seen():
        seen.update((r.partition, r.offset) for r in poll(consumer))
        return seen == wanted

    until("what the killed member had not committed is read by the next", all_seen)
    consumer.commit()
    consumer.close()
    told = broker.admin.list_group_offsets({topic: None})[topic]
    equal([100, 100], [o.offset for o in told.values()], "committed at the end")


@check("admin-groups")
def admin_groups(broker):
    topic = broker.create("admin-groups")
    broker.send(topic, [{"value": b"v"}])
    consumer = broker.member(topic, topic)
    take(consumer, 1)
    consumer.commit()
    ensure(topic in {g["group_id"] for g in broker.admin.list_groups()}, "the group is not listed")
    ((_, error),) = deleted(broker.admin.delete_groups([topic]))
    ensure("NonEmptyGroup" in error, f"deleting a group with a member: {error}")
    consumer.close()
    ((_, error),) = deleted(broker.admin.delete_groups([topic]))
    equal("OK", error, "deleting an empty group")
    ensure(topic not in {g["group_id"] for g in broker.admin.list_groups()}, "the group is there yet")


def deleted(answer):
    """What became of each group, as pairs of its name and a word."""
    pairs = answer.items() if isinstance(answer, dict) else answer
    name = lambda e: "OK" if e in ("OK", errors.NoError) else getattr(e, "__name__", type(e).__name__ + str(e))
    return [(group, name(error)) for group, error in pairs]


@check("delete-records")
def delete_records(broker):
    topic = broker.create("delete-records")
    partition = TopicPartition(topic, 0)
    broker.send(topic, [{"value": b"%d" % i} for i in range(10)])
    broker.admin.delete_records({partition: 6})
    consumer = broker.consumer()
    equal({partition: 6}, consumer.beginning_offsets([partition]), "beginning")
    consumer.close()
    equal([6, 7, 8, 9], [r.offset for r in broker.read(topic, 4, start=0)], "what is left")
    refused(errors.OffsetOutOfRangeError, lambda: broker.admin.delete_records({partition: 11}))


@check("unknown-topic")
def unknown_topic(broker):
    topic = broker.topic("unknown")
    consumer = broker.consumer(allow_auto_create_topics=False)
    equal(set(), consumer.partitions_for_topic(topic) or set(), "partitions of a topic that is not there")
    consumer.close()
    ensure(topic not in broker.admin.list_topics(), "asking for it created it")


if __name__ == "__main__":
    broker = Broker(sys.argv[1])
    sys.exit(checks.main(lambda function: function(broker)))
