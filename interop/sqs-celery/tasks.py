"""The application that workers and senders share: a task of which every twentieth fails, once or for ever."""

import os

from celery import Celery

QUEUE = os.environ["SQS_QUEUE"]
MENDED = os.environ["SQS_MENDED"]
DONE = os.environ["SQS_DONE"]

# boto3, by which kombu speaks, takes the endpoint from the environment.
app = Celery("tasks", broker="sqs://x:x@")
app.conf.update(
    broker_transport_options={
        "region": "us-east-1",
        "visibility_timeout": 2,
        "wait_time_seconds": 1,
        "polling_interval": 0,
    },
    task_default_queue=QUEUE,
    task_acks_late=True,
    # A task that fails is not deleted: it comes back when its lock ends, until it was received too often.
    task_acks_on_failure_or_timeout=False,
    task_ignore_result=True,
    worker_prefetch_multiplier=10,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def work(number):
    if number % 20 == 0 and not os.path.exists(MENDED):
        raise ValueError(f"task {number} cannot be done yet")
    with open(f"{DONE}.{os.getpid()}", "a") as done:
        done.write(f"{number}\n")
