"""A worker on one queue that sends, receives and deletes until it is killed or told to stop, and writes down what it
was told: `python worker.py ENDPOINT QUEUE NUMBER FOLDER`.

Lines of its log: a letter, a message, the time before the request and the time after its answer, in nanoseconds of
the system's monotonic clock, which all workers share. S was sent, R was received, D was deleted. Requests without an
answer leave no line. A file `drain` in the folder ends sending, a file `stop` all.
"""

import os
import pathlib
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ENDPOINT, QUEUE, NUMBER, FOLDER = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])

SQS = boto3.client(
    "sqs",
    endpoint_url=ENDPOINT,
    region_name="us-east-1",
    aws_access_key_id="x",
    aws_secret_access_key="x",
    # A request that is tried again may be done twice, as with AWS, and would look like a message that comes back.
    config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10),
)


def noted(log, letter, bodies, began):
    ended = time.monotonic_ns()
    log.write("".join(f"{letter} {body} {began} {ended}\n" for body in bodies))
    log.flush()


def send(url, log, first):
    entries = [{"Id": str(i), "MessageBody": f"{NUMBER}-{os.getpid()}-{first + i}"} for i in range(10)]
    began = time.monotonic_ns()
    told = SQS.send_message_batch(QueueUrl=url, Entries=entries)
    good = {e["Id"] for e in told["Successful"]}
    noted(log, "S", [e["MessageBody"] for e in entries if e["Id"] in good], began)


def receive(url, log):
    began = time.monotonic_ns()
    got = SQS.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=2, WaitTimeSeconds=1
    ).get("Messages", [])
    noted(log, "R", [m["Body"] for m in got], began)
    if not got:
        return
    # Some are left to the end of their lock.
    entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got) if i % 5 != 4]
    began = time.monotonic_ns()
    told = SQS.delete_message_batch(QueueUrl=url, Entries=entries)
    noted(log, "D", [got[int(e["Id"])]["Body"] for e in told["Successful"]], began)


def main():
    url, first = None, 0
    with open(FOLDER / f"worker-{NUMBER}-{os.getpid()}.log", "w") as log:
        while not (FOLDER / "stop").exists():
            try:
                url = url or SQS.create_queue(QueueName=QUEUE)["QueueUrl"]
                if not (FOLDER / "drain").exists():
                    # What nobody answered may be there all the same, and is not sent again.
                    first += 10
                    send(url, log, first)
                receive(url, log)
            except (BotoCoreError, ClientError):
                # The broker is gone for a moment.
                time.sleep(0.05)


main()
