"""Celery on its SQS transport: tasks of which some fail reach the dead-letter queue, and come back from there.

Arguments: the endpoint, the program `mulgil`, the address of its HTTP listener, how many tasks.
"""

import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import boto3
from checks import RUN, ensure, equal

ENDPOINT, MULGIL, HTTP, TASKS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
QUEUE, DEAD = f"celery-{RUN}", f"celery-dead-{RUN}"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="celery-"))
WORKERS = 2
# Comes from the tasks' lock of two seconds, three tries, and workers that are slow under load.
PATIENCE_S = 120

os.environ.update(
    SQS_QUEUE=QUEUE,
    SQS_MENDED=str(FOLDER / "mended"),
    SQS_DONE=str(FOLDER / "done"),
    AWS_ENDPOINT_URL_SQS=ENDPOINT,
    AWS_ACCESS_KEY_ID="x",
    AWS_SECRET_ACCESS_KEY="x",
    AWS_DEFAULT_REGION="us-east-1",
)
sys.path.insert(0, str(HERE))

SQS = boto3.client("sqs")


def mulgil(*words):
    said = subprocess.run(
        [MULGIL, *words, "--server", HTTP, "-o", "json"], capture_output=True, text=True
    )
    ensure(said.returncode == 0, said.stderr)
    return json.loads(said.stdout)


def done():
    """The numbers of the tasks that were done, as often as each was."""
    numbers = []
    for path in glob.glob(f"{FOLDER}/done.*"):
        numbers += [int(line) for line in pathlib.Path(path).read_text().split()]
    return numbers


def later(what, condition):
    """As `until`, for what takes longer."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        ensure(time.monotonic() < end, f"not in {PATIENCE_S} s: {what()}")
        time.sleep(0.2)


def waiting(url):
    told = SQS.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    names = ("", "NotVisible", "Delayed")
    return sum(int(told[f"ApproximateNumberOfMessages{name}"]) for name in names)


def main():
    from tasks import work

    dead = SQS.create_queue(QueueName=DEAD)["QueueUrl"]
    arn = SQS.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
    policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": 3}
    queue = SQS.create_queue(
        QueueName=QUEUE,
        Attributes={"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "2"},
    )["QueueUrl"]
    failing = {number for number in range(TASKS) if number % 20 == 0}
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker"]
    log = open(FOLDER / "workers.log", "w")
    workers = [
        subprocess.Popen(
            [*command, "-n", f"w{i}@%h", "-c", "4", "-P", "threads", "-l", "ERROR"],
            cwd=HERE,
            stdout=log,
            stderr=log,
        )
        for i in range(WORKERS)
    ]
    try:
        for number in range(TASKS):
            work.delay(number)
        good = TASKS - len(failing)
        later(lambda: f"{len(set(done()))} of {good} tasks", lambda: len(set(done())) >= good)
        later(lambda: f"{waiting(dead)} dead letters", lambda: waiting(dead) == len(failing))
        equal(set(range(TASKS)) - failing, set(done()), "what was done")
        reasons = mulgil("dlq", "reasons", DEAD)
        equal(1, len(reasons), reasons)
        equal((QUEUE, "delivery_limit", len(failing), 3, 3),
              tuple(reasons[0][name] for name in
                    ("subscription", "reason", "records", "tries_min", "tries_max")), "reasons")
        ensure(reasons[0]["first"] <= reasons[0]["last"], reasons)
        (FOLDER / "mended").touch()
        task = mulgil("dlq", "redrive", DEAD)[0]
        equal(("done", len(failing)), (task["state"], task["moved"]), "redrive")
        later(lambda: f"{len(set(done()))} of {TASKS} tasks", lambda: len(set(done())) == TASKS)
        equal(set(range(TASKS)), set(done()), "what was done")
        later(lambda: f"{waiting(queue)} messages", lambda: waiting(queue) == 0)
        equal(0, waiting(dead), "dead letters")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


if __name__ == "__main__":
    try:
        main()
        print("ok celery")
    except Exception as error:
        print((FOLDER / "workers.log").read_text()[-4000:], file=sys.stderr)
        print(f"FAIL celery: {type(error).__name__} {error}".replace("\n", " "))
        sys.exit(1)
