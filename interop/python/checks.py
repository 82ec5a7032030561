"""Registering and running checks, whichever client they are made with.

A check waits for a condition and has a deadline; it never sleeps in the hope that something has
happened meanwhile. Topic names carry the time of the run, so a suite can run again and again against
one broker.
"""

import sys
import time
import traceback

DEADLINE_S = 60
RUN = format(time.time_ns() // 1_000_000, "x")
HOUR_MS = 3_600_000
# The largest batch that a topic takes unless it says otherwise.
LIMIT = 1_048_588
CHECKS = {}


def check(name):
    """Registers a check under the name it is reported by."""

    def register(function):
        CHECKS[name] = function
        return function

    return register


def ensure(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(wanted, got, what):
    ensure(wanted == got, f"{what}: wanted {wanted!r}, got {got!r}")


def until(what, condition):
    """Calls `condition` until it gives something, and returns that.

    Nothing is None or False, and not what is falsy: a Message has a length, that of its value.
    """
    end = time.monotonic() + DEADLINE_S
    while True:
        found = condition()
        if found is not None and found is not False:
            return found
        ensure(time.monotonic() < end, f"not in {DEADLINE_S} s: {what}")


def now_ms():
    return time.time_ns() // 1_000_000


def text(i):
    return f"record {i} of water on its way down ".encode() * (1 + i % 17)


def noise(size):
    """Bytes that no codec makes smaller, the same in every run."""
    state, out = 7, bytearray()
    while len(out) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out += state.to_bytes(8, "little")
    return bytes(out[:size])


# The murmur2 partitions of Java's DefaultPartitioner, as Java's client computes them for four
# partitions. What follows Java's client in its partitions must come to the same.
JAVA_PARTITIONS_OF_4 = {b"a": 0, b"key-2": 2, b"water": 0, "물길".encode(): 3, b"": 1}


def main(run):
    """Gives each check that is asked for to `run`, and prints what came of it."""
    good = True
    for name, function in CHECKS.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        try:
            run(function)
            print(f"ok {name}", flush=True)
        except Exception as e:  # a check may fail in any way, and the next one shall run
            traceback.print_exc()
            why = f"{type(e).__name__} {e}".replace("\n", " ")
            print(f"FAIL {name}: {why}", flush=True)
            good = False
    return 0 if good else 1
