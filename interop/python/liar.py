"""The client of `cargo xtask liar`: loads a broker that is recorded, and reads brokers on what is left.

    liar.py load BOOTSTRAP RECORDING EVENTS
    liar.py read BOOTSTRAP

`load` writes to EVENTS what it was told, and each time how long RECORDING was when it was told. What
the recording holds by then was done before the answer came, so the answer must be true on every disk
after that place. It pauses once, and ends when its standard input does.

`read` prints all that a broker has. Values say by themselves where they belong and what they must be.
"""

import hashlib
import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

# Topic, partitions, whether its producer is idempotent, codec.
TOPICS = [
    ("liar-once", 3, True, "none"),
    ("liar-packed", 2, True, "lz4"),
    ("liar-loose", 2, False, "none"),
]
# Topics that come and go, with a record in each.
PASSING = ["liar-passing-a", "liar-passing-b", "liar-passing-c"]
GROUP = "liar-group"
FIRST_BURST_S = 0.8
IDLE_S = 0.4
DEADLINE_S = 30
# How long the end may take once the broker is gone.
PATIENCE_S = 20


def value(topic, life, partition, k):
    """The one value that this record may have; its size spans from a few bytes to many sectors."""
    head = f"{topic} {life} {partition} {k} ".encode()
    size = 20_000 if k % 97 == 13 else 1_500 if k % 11 == 3 else 60 + k % 50
    return head + hashlib.shake_128(head).hexdigest(size // 2).encode()


class Load:
    """All producers, and what they were told."""

    def __init__(self, bootstrap, recording, events):
        self.recording = recording
        self.events = open(events, "w", encoding="utf-8", buffering=1 << 16)
        settings = {"bootstrap.servers": bootstrap, "linger.ms": 1, "acks": "all"}
        settings |= {"retries": 0, "message.timeout.ms": 5_000}
        self.producers = {}
        for topic, partitions, once, codec in TOPICS:
            manner = {"enable.idempotence": once, "compression.type": codec}
            if once:
                manner["retries"] = 2_147_483_647
            self.producers[topic] = Producer(settings | manner)
            self.event("P", topic, partitions, "once" if once else "loose")
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.passing = Producer(settings)
        self.group = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP})
        self.sent = {(t, p): 0 for t, n, _, _ in TOPICS for p in range(n)}
        self.lives = {topic: 0 for topic in PASSING}
        self.groups = None
        self.stop = False

    def event(self, *words):
        print(*words, file=self.events)

    def length(self):
        return os.stat(self.recording).st_size

    def create(self, topic, partitions, life):
        self.event("c", topic, life, self.length())
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)
        self.event("C", topic, life, self.length())

    def delete(self, topic, life):
        self.event("d", topic, life, self.length())
        self.admin.delete_topics([topic])[topic].result(10)
        self.event("D", topic, life, self.length())

    def produce(self, producer, topic, life, partition, k):
        def told(error, message):
            if error is None:
                at = message.offset()
                self.event("A", topic, life, partition, k, at, self.length())

        producer.produce(topic, value(topic, life, partition, k), partition=partition, on_delivery=told)

    def some(self):
        for (topic, partition), k in self.sent.items():
            for number in range(k, k + 1 + (k + partition) % 3):
                self.produce(self.producers[topic], topic, 0, partition, number)
                self.sent[topic, partition] = number + 1
            self.producers[topic].poll(0)

    def pass_by(self, turn):
        """A topic is made and gets a record, or is deleted."""
        topic = PASSING[turn % len(PASSING)]
        life = self.lives[topic]
        if life % 2 == 0:
            self.create(topic, 1, life + 1)
            self.produce(self.passing, topic, life + 1, 0, 0)
            self.passing.flush(5)
        else:
            self.delete(topic, life)
        self.lives[topic] = life + 1

    def commit(self):
        """Commits how far the group has come, if the broker has groups."""
        if self.groups is None:
            asked = [TopicPartition("liar-once", 0)]
            try:
                self.group.committed(asked, timeout=3)
                self.groups = True
            except KafkaException as error:
                self.groups = False
                self.event("N", f"no group offsets: {error}".replace("\n", " "))
        if self.groups:
            for partition in range(3):
                offset = self.sent["liar-once", partition]
                self.event("g", "liar-once", partition, offset, self.length())
                asked = [TopicPartition("liar-once", partition, offset)]
                self.group.commit(offsets=asked, asynchronous=False)
                self.event("G", "liar-once", partition, offset, self.length())

    def burst(self, seconds):
        end = time.monotonic() + seconds
        turn = 0
        while time.monotonic() < end and not self.stop:
            self.some()
            if turn % 16 == 7:
                self.pass_by(turn // 16)
            if turn % 16 == 15:
                self.commit()
            self.events.flush()
            turn += 1
            time.sleep(0.004)

    def flush(self):
        for producer in [*self.producers.values(), self.passing]:
            producer.flush(3)

    def run(self):
        for topic, partitions, _, _ in TOPICS:
            self.create(topic, partitions, 0)
        self.commit()
        self.burst(FIRST_BURST_S)
        self.flush()
        self.event("i", self.length())
        time.sleep(IDLE_S)
        self.event("I", self.length())
        self.events.flush()
        self.burst(DEADLINE_S)

    def close(self):
        # What the broker answered before it was killed may still lie in the queues.
        for producer in self.producers.values():
            producer.poll(0.1)
        for (topic, partition), count in self.sent.items():
            self.event("S", topic, partition, count)
        self.events.flush()


def load(bootstrap, recording, events):
    client = Load(bootstrap, recording, events)
    # Whoever has it writes the last lines.
    last = threading.Lock()

    def wait():
        sys.stdin.read()
        client.stop = True
        # A commit may wait for ever for a coordinator that is gone (librdkafka's issue 5511); it was
        # not answered then, and what is noted by now is all.
        time.sleep(PATIENCE_S)
        with last:
            client.close()
            os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    try:
        client.run()
    except KafkaException as error:
        # The broker is killed in the middle of whatever is asked just then.
        client.event("N", f"ended by: {error}".replace("\n", " "))
    with last:
        client.close()
        # Clients of a broker that is gone would be waited for.
        os._exit(0)


def recognised(topic, partition, got):
    """Life and number of a record, if its value is right to the byte."""
    words = (got or b"").split(b" ", 4)
    try:
        name, life, place, k = words[0].decode(), int(words[1]), int(words[2]), int(words[3])
    except (ValueError, IndexError):
        return None
    right = name == topic and place == partition and got == value(name, life, place, k)
    return (life, k) if right else None


def read(bootstrap):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": GROUP,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # The values are compared here, to the byte.
            "check.crcs": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 5,
            "fetch.error.backoff.ms": 5,
        }
    )
    topics = consumer.list_topics(timeout=DEADLINE_S).topics
    names = sorted(name for name in topics if name.startswith("liar-"))
    places = {}
    for name in names:
        print("T", name, len(topics[name].partitions))
        places |= {(name, p): 0 for p in topics[name].partitions}
    consumer.assign([TopicPartition(name, p, 0) for name, p in places])
    open_places = set(places)
    end = time.monotonic() + DEADLINE_S
    while open_places:
        if time.monotonic() > end:
            for name, p in sorted(open_places):
                print("X", name, p, places[name, p], "not read to its end")
            break
        for message in consumer.consume(500, timeout=0.01):
            take(consumer, message, places, open_places)
    committed(consumer, names, topics)
    sys.stdout.flush()
    os._exit(0)


def take(consumer, message, places, open_places):
    place = (message.topic(), message.partition())
    error = message.error()
    if error is None:
        known = recognised(*place, message.value())
        if known is None:
            shown = (message.value() or b"")[:60]
            print("X", *place, message.offset(), f"was never sent: {shown!r}")
        else:
            print("R", *place, message.offset(), *known)
        places[place] = message.offset() + 1
    elif error.code() == KafkaError._PARTITION_EOF:
        open_places.discard(place)
    elif error.code() == KafkaError._AUTO_OFFSET_RESET:
        print("X", *place, places[place], "the reader was sent beyond the end")
        open_places.discard(place)
    elif message.offset() >= places[place]:
        # One offset further, as a person would try it. An older error was in the queue already.
        print("E", *place, message.offset(), error.name())
        places[place] = message.offset() + 1
        seek(consumer, TopicPartition(*place, places[place]))


def seek(consumer, where):
    """Seeks; while a partition is just being set up, librdkafka refuses to."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            return consumer.seek(where)
        except KafkaException:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


def committed(consumer, names, topics):
    asked = [TopicPartition(n, p) for n in names if n == "liar-once" for p in topics[n].partitions]
    if not asked:
        return
    try:
        for found in consumer.committed(asked, timeout=3):
            print("G", found.topic, found.partition, found.offset)
    except KafkaException as error:
        print("N", f"no group offsets: {error}".replace("\n", " "))


if __name__ == "__main__":
    {"load": load, "read": read}[sys.argv[1]](*sys.argv[2:])
