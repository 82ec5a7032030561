"""The processes of `cargo xtask groups` that run on librdkafka; the others are
Java's `GroupMember` and `GroupWatcher`.

    groups.py member BOOTSTRAP GROUP ASSIGNOR LIFE INSTANCE TOPIC...
    groups.py produce BOOTSTRAP TOPIC:PARTITIONS...

Each writes what it does and what it is told to standard output, a line at once, and ends when its standard
input does. A line begins with the monotonic clock, which all processes of a machine share. Record `k` of a
partition says so in its value. LIFE is the client's id, another one each time a member is started anew;
INSTANCE is its name over restarts, or `-`.

    assigned|revoked|lost GENERATION PLACE...
    record PLACE OFFSET NUMBER         it is processed; the number is -1 if it is not what was sent
    commit GENERATION PLACE=OFFSET...  about to be sent; `committed` or `uncommitted WHY` answers it
    tick GENERATION                    nothing else was said for a while
    trouble WHAT
    acknowledged PLACE NUMBER OFFSET   by the producer; or `refused PLACE NUMBER WHY`
    look                               by the watcher, before it asks; then what it was told:
    offsets GROUP PLACE=OFFSET...
    group GROUP STATE LIFE:PLACE,PLACE...
    busy WHY
    looked N
"""

import os
import struct
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

AT_ONCE = 50
POLL_S = 0.1
TICK_NS = 100_000_000
PAUSE_S = 0.05
# Short enough that a round is not mostly waiting; Kafka takes no shorter session.
SESSION_MS = 6_000
HEARTBEAT_MS = 500
POLL_LIMIT_MS = 30_000
# A broker that was killed is back within a second.
QUICK = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200, "log_level": 3}
METADATA_MAGIC = b"CGMDv2:"


def say(*words):
    print(time.monotonic_ns(), *words, flush=True)


def place(found):
    return f"{found.topic}/{found.partition}"


def words(error):
    return str(error).replace("\n", " ")


def end_with_stdin():
    """Ends this process when the one that started it is gone or has had enough."""

    def wait():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class Member:
    """Processes records one by one and commits after some of them, each commit waited for."""

    def __init__(self, bootstrap, group, assignor, life, instance, topics):
        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "client.id": life,
            "partition.assignment.strategy": assignor,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "max.poll.interval.ms": POLL_LIMIT_MS,
            "fetch.wait.max.ms": 100,
            "error_cb": lambda error: say("trouble", words(error)),
        }
        if instance != "-":
            settings["group.instance.id"] = instance
        self.consumer = Consumer(settings | QUICK)
        # What is processed and not known to be committed.
        self.done = {}
        self.ticked = 0
        self.consumer.subscribe(
            topics, on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost
        )

    def generation(self):
        """The consumer's metadata is bytes for a transaction; the generation follows the magic."""
        metadata = self.consumer.consumer_group_metadata()
        if not metadata.startswith(METADATA_MAGIC):
            raise ValueError(f"metadata of another layout: {metadata!r}")
        return struct.unpack_from("=i", metadata, len(METADATA_MAGIC))[0]

    def assigned(self, _, partitions):
        for found in partitions:
            self.done.pop((found.topic, found.partition), None)
        say("assigned", self.generation(), *map(place, partitions))

    def revoked(self, _, partitions):
        self.commit()
        self.gone("revoked", partitions)

    def lost(self, _, partitions):
        self.gone("lost", partitions)

    def gone(self, word, partitions):
        for found in partitions:
            self.done.pop((found.topic, found.partition), None)
        say(word, self.generation(), *map(place, partitions))

    def process(self, message):
        where = TopicPartition(message.topic(), message.partition())
        sent, _, number = message.value().decode().partition(" ")
        say("record", place(where), message.offset(), number if sent == place(where) else -1)
        self.done[where.topic, where.partition] = message.offset() + 1

    def commit(self):
        if not self.done:
            return
        offsets = [TopicPartition(*where, offset) for where, offset in self.done.items()]
        say("commit", self.generation(), *(f"{place(o)}={o.offset}" for o in offsets))
        try:
            for answer in self.consumer.commit(offsets=offsets, asynchronous=False):
                if answer.error is not None:
                    raise KafkaException(answer.error)
        except KafkaException as error:
            say("uncommitted", words(error))
            return
        say("committed")
        self.done.clear()

    def run(self):
        while True:
            for _ in range(AT_ONCE):
                message = self.consumer.poll(POLL_S)
                if message is None:
                    break
                if message.error() is None:
                    self.process(message)
                else:
                    say("trouble", words(message.error()))
                    if message.error().fatal():
                        sys.exit(1)
            self.commit()
            if time.monotonic_ns() - self.ticked > TICK_NS:
                self.ticked = time.monotonic_ns()
                say("tick", self.generation())


def member(bootstrap, group, assignor, life, instance, *topics):
    Member(bootstrap, group, assignor, life, instance, list(topics)).run()


def counted(topics):
    return [(name, int(count)) for name, count in (topic.split(":") for topic in topics)]


def produce(bootstrap, *topics):
    """One to three records for each partition, twenty times a second."""
    settings = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "linger.ms": 5,
        "message.timeout.ms": 120_000,
        "retry.backoff.ms": 50,
    }
    producer = Producer(settings | QUICK)
    numbers = {TopicPartition(name, p): 0 for name, n in counted(topics) for p in range(n)}

    def send(where, number):
        def told(error, message):
            if error is None:
                say("acknowledged", place(where), number, message.offset())
            else:
                say("refused", place(where), number, words(error))

        value = f"{place(where)} {number}".encode()
        producer.produce(where.topic, value, partition=where.partition, on_delivery=told)

    while True:
        for where, number in numbers.items():
            count = 1 + (number + where.partition) % 3
            for k in range(number, number + count):
                send(where, k)
            numbers[where] = number + count
        end = time.monotonic() + PAUSE_S
        while (rest := end - time.monotonic()) > 0:
            producer.poll(rest)


if __name__ == "__main__":
    end_with_stdin()
    {"member": member, "produce": produce}[sys.argv[1]](*sys.argv[2:])
