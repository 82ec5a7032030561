"""Amazon SQS by boto3, in whichever version is installed.

Versions up to 1.28.80 speak the Query protocol with XML, newer ones AWS JSON. What they show is the same
but for the names of errors, of which the older one has one and the newer one two.
"""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError
from checks import RUN, check, ensure, equal, main, until

ENDPOINT = sys.argv[1]
JSON = tuple(int(part) for part in botocore.__version__.split(".")[:3]) > (1, 31, 80)
ALL = ["All"]


def client(**more):
    return boto3.client(
        "sqs",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"max_attempts": 2}, max_pool_connections=50),
        **more,
    )


SQS = client()


def queue(name, attributes=None, **more):
    """A queue of this run."""
    name = f"{name}-{RUN}" if not name.endswith(".fifo") else f"{name[:-5]}-{RUN}.fifo"
    return SQS.create_queue(QueueName=name, Attributes=attributes or {}, **more)["QueueUrl"]


def fifo(name, **attributes):
    return queue(f"{name}.fifo", {"FifoQueue": "true", **attributes})


def attributes(url, *names):
    return SQS.get_queue_attributes(QueueUrl=url, AttributeNames=list(names) or ALL).get(
        "Attributes", {}
    )


def arn(url):
    return attributes(url, "QueueArn")["QueueArn"]


def receive(url, **more):
    return SQS.receive_message(
        QueueUrl=url, AttributeNames=ALL, MessageAttributeNames=ALL, **more
    ).get("Messages", [])


def one(url, **more):
    """The next message, for which it waits."""
    return until("a message", lambda: receive(url, WaitTimeSeconds=5, **more) or None)[0]


def bodies(messages):
    return [message["Body"] for message in messages]


def refused(code, call, *, name=None, status=400, says=None, **parameters):
    """Calls, and expects a refusal: its older code, its newer name, its status, what it says."""
    try:
        call(**parameters)
    except ClientError as error:
        told = error.response
        equal(code, told["Error"]["Code"], "code")
        if JSON and name:
            equal(name, told["Error"]["QueryErrorCode"], "name")
        equal(status, told["ResponseMetadata"]["HTTPStatusCode"], "status")
        ensure(told["ResponseMetadata"]["RequestId"], "no request id")
        ensure(says is None or says in told["Error"]["Message"], told["Error"]["Message"])
        return
    raise AssertionError(f"not refused, {code} was expected")


INVALID = {"code": "InvalidParameterValue", "name": "InvalidParameterValueException"}
MISSING = {"code": "MissingParameter", "name": "MissingRequiredParameterException"}
NO_QUEUE = {"code": "AWS.SimpleQueueService.NonExistentQueue", "name": "QueueDoesNotExist"}


@check("readme")
def readme():
    page = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text()
    block = next(b for b in re.findall(r"```\n(.*?)```", page, re.S) if "boto3.client" in b)
    block = block.replace("http://localhost:9324", ENDPOINT).replace("'mail'", f"'mail-{RUN}'")
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    if not JSON:
        # Versions of that time do not read the endpoint of one service from the environment.
        block = block.replace("client('sqs')", f"client('sqs', endpoint_url='{ENDPOINT}')")
    said = subprocess.run(
        ["sh", "-c", block], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    equal("hi\n", said.stdout, said.stderr)


@check("send-receive-delete")
def send_receive_delete():
    url = queue("plain")
    sent = SQS.send_message(QueueUrl=url, MessageBody="hello\t\u00e9\n\U0001f30a")
    message = one(url)
    equal(sent["MessageId"], message["MessageId"], "id")
    equal("hello\t\u00e9\n\U0001f30a", message["Body"], "body")
    equal(sent["MD5OfMessageBody"], message["MD5OfBody"], "digest")
    system = message["Attributes"]
    equal("1", system["ApproximateReceiveCount"], "count")
    ensure(abs(int(system["SentTimestamp"]) - time.time() * 1000) < 60_000, system)
    ensure("ApproximateFirstReceiveTimestamp" in system and "SenderId" in system, system)
    equal([], receive(url), "while it is in flight")
    SQS.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    # Once more is no fault.
    SQS.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    counted = attributes(url)
    for name in ("", "NotVisible", "Delayed"):
        equal("0", counted[f"ApproximateNumberOfMessages{name}"], name)


@check("message-attributes")
def message_attributes():
    url = queue("attributes")
    given = {
        "text": {"DataType": "String", "StringValue": "w\u00e4ter"},
        "number": {"DataType": "Number", "StringValue": "-1.5e3"},
        "typed.number": {"DataType": "Number.float", "StringValue": "0.25"},
        "typed.bytes": {"DataType": "Binary.png", "BinaryValue": b"\x00\x01\xff"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"text"},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}}
    sent = SQS.send_message(
        QueueUrl=url, MessageBody="x", MessageAttributes=given, MessageSystemAttributes=trace
    )
    ensure(sent["MD5OfMessageSystemAttributes"], sent)
    message = one(url, VisibilityTimeout=0)
    equal(given, message["MessageAttributes"], "attributes")
    equal(sent["MD5OfMessageAttributes"], message["MD5OfMessageAttributes"], "digest")
    equal("Root=1-5759e988", message["Attributes"]["AWSTraceHeader"], "trace")
    for names, wanted in (
        (["text"], {"text"}),
        (["typed.*"], {"typed.number", "typed.bytes"}),
        ([".*"], set(given)),
        (["nothing"], set()),
    ):
        got = until(
            "a message",
            lambda: SQS.receive_message(
                QueueUrl=url, MessageAttributeNames=names, VisibilityTimeout=0
            ).get("Messages"),
        )[0]
        equal(wanted, set(got.get("MessageAttributes", {})), names)
        ensure("Attributes" not in got, "system attributes that nobody asked for")


@check("batches")
def batches():
    url = queue("batch")
    entries = [{"Id": f"e{i}", "MessageBody": f"m{i}"} for i in range(8)]
    entries.append({"Id": "late", "MessageBody": "x", "DelaySeconds": 901})
    entries.append({"Id": "none", "MessageBody": ""})
    told = SQS.send_message_batch(QueueUrl=url, Entries=entries)
    equal({f"e{i}" for i in range(8)}, {e["Id"] for e in told["Successful"]}, "sent")
    equal(
        {"late": "InvalidParameterValue", "none": "MissingParameter"},
        {e["Id"]: e["Code"] for e in told["Failed"]},
        "not sent",
    )
    ensure(all(e["SenderFault"] for e in told["Failed"]), told)
    got = {}

    def all_there():
        got.update({m["Body"]: m for m in receive(url, MaxNumberOfMessages=10)})
        return len(got) == 8

    until("eight messages", all_there)
    handles = [m["ReceiptHandle"] for m in got.values()]
    entries = [
        {"Id": f"e{i}", "ReceiptHandle": handle, "VisibilityTimeout": 600}
        for i, handle in enumerate(handles)
    ]
    told = SQS.change_message_visibility_batch(
        QueueUrl=url, Entries=entries + [{**entries[0], "Id": "bad", "ReceiptHandle": "x"}]
    )
    equal((8, ["bad"]), (len(told["Successful"]), [e["Id"] for e in told["Failed"]]), "changed")
    equal("ReceiptHandleIsInvalid", told["Failed"][0]["Code"], "code")
    entries = [{"Id": f"e{i}", "ReceiptHandle": handle} for i, handle in enumerate(handles)]
    told = SQS.delete_message_batch(QueueUrl=url, Entries=entries)
    equal(8, len(told["Successful"]), "deleted")
    ensure(not told.get("Failed"), told)


@check("batch-refusals")
def batch_refusals():
    url = queue("batch-refusals")
    send = SQS.send_message_batch
    prefix = "AWS.SimpleQueueService."

    def entries(*ids, body="x"):
        return [{"Id": i, "MessageBody": body} for i in ids]

    def no(code, says=None, **more):
        refused(prefix + code, send, name=code, says=says, QueueUrl=url, **more)

    no("EmptyBatchRequest", Entries=[])
    many = entries(*(f"e{i}" for i in range(11)))
    no(
        "TooManyEntriesInBatchRequest",
        "Maximum number of entries per request are 10. You have sent 11.",
        Entries=many,
    )
    no("BatchEntryIdsNotDistinct", Entries=entries("a", "a"))
    no(
        "InvalidBatchEntryId",
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
        "It can be at most 80 letters long.",
        Entries=entries("a b"),
    )
    large = entries("a", "b", body="x" * 600_000)
    no(
        "BatchRequestTooLong",
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1200000 bytes.",
        Entries=large,
    )


@check("long-poll")
def long_poll():
    url = queue("long-poll", {"ReceiveMessageWaitTimeSeconds": "20"})
    threading.Timer(0.5, lambda: SQS.send_message(QueueUrl=url, MessageBody="at last")).start()
    began = time.monotonic()
    equal(["at last"], bodies(receive(url)), "what came")
    took = time.monotonic() - began
    ensure(0.4 < took < 5, f"{took} s")
    # Said in the request, it counts more than the queue's.
    began = time.monotonic()
    equal([], receive(url, WaitTimeSeconds=0), "nothing")
    ensure(time.monotonic() - began < 5, "a short poll waited")


@check("visibility")
def visibility():
    url = queue("visibility", {"VisibilityTimeout": "600"})
    SQS.send_message(QueueUrl=url, MessageBody="x")
    first = one(url)
    change = SQS.change_message_visibility
    change(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    second = one(url, VisibilityTimeout=1)
    equal("2", second["Attributes"]["ApproximateReceiveCount"], "count")
    ensure(first["ReceiptHandle"] != second["ReceiptHandle"], "one handle for both")
    third = one(url)
    equal("3", third["Attributes"]["ApproximateReceiveCount"], "count")
    # The first was received a second ago at least: the third comes when the second's lock has ended.
    refused(
        **INVALID,
        call=change,
        says="Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
        QueueUrl=url,
        ReceiptHandle=first["ReceiptHandle"],
        VisibilityTimeout=43_200,
    )
    refused(
        **INVALID,
        call=change,
        QueueUrl=url,
        ReceiptHandle=third["ReceiptHandle"],
        VisibilityTimeout=43_201,
    )
    # An old handle still deletes.
    SQS.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    equal("0", attributes(url)["ApproximateNumberOfMessagesNotVisible"], "in flight")
    refused(
        **INVALID,
        call=change,
        says="Message does not exist or is not available for visibility timeout change.",
        QueueUrl=url,
        ReceiptHandle=third["ReceiptHandle"],
        VisibilityTimeout=10,
    )


@check("delay")
def delay():
    url = queue("delay", {"DelaySeconds": "2"})
    began = time.monotonic()
    SQS.send_message(QueueUrl=url, MessageBody="late")
    SQS.send_message(QueueUrl=url, MessageBody="now", DelaySeconds=0)
    equal("now", one(url)["Body"], "first")
    equal("1", attributes(url)["ApproximateNumberOfMessagesDelayed"], "delayed")
    equal("late", one(url)["Body"], "second")
    ensure(time.monotonic() - began > 1.9, "too early")


@check("fifo")
def fifo_order():
    url = fifo("order")
    sent = [
        SQS.send_message(
            QueueUrl=url, MessageBody=f"{g}{i}", MessageGroupId=g, MessageDeduplicationId=f"{g}{i}"
        )
        for i in range(3)
        for g in "ab"
    ]
    numbers = [s["SequenceNumber"] for s in sent]
    equal(sorted(numbers), numbers, "sequence numbers")
    ensure(all(len(number) == 20 for number in numbers), numbers)
    got = {"a": [], "b": []}

    def next_ones():
        messages = receive(url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in messages:
            system = message["Attributes"]
            equal(message["Body"], system["MessageDeduplicationId"], "id")
            got[system["MessageGroupId"]].append(message["Body"])
        for message in messages:
            SQS.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return sum(map(len, got.values())) == 6

    until("six messages", next_ones)
    equal({"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"]}, got, "order")


@check("fifo-several-at-once")
def fifo_several():
    url = fifo("several")
    entries = [
        {
            "Id": str(i),
            "MessageBody": f"{group}{i}",
            "MessageGroupId": group,
            "MessageDeduplicationId": f"{group}{i}",
        }
        for i, group in enumerate("abab")
    ]
    SQS.send_message_batch(QueueUrl=url, Entries=entries)
    got = receive(url, MaxNumberOfMessages=10)
    equal(["a0", "a2"], [b for b in bodies(got) if b[0] == "a"], "in order, in one receive")
    equal(["b1", "b3"], [b for b in bodies(got) if b[0] == "b"], "in order, in one receive")
    SQS.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
    SQS.send_message(
        QueueUrl=url, MessageBody="a4", MessageGroupId="a", MessageDeduplicationId="a4"
    )
    equal([], receive(url), "the group waits for all of them")
    for message in got[1:]:
        SQS.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    equal("a4", one(url)["Body"], "then the next")


@check("fifo-group-waits")
def fifo_group_waits():
    url = fifo("waits")
    for body, group in (("1", "a"), ("2", "a"), ("3", "b")):
        SQS.send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body
        )
    first = one(url, MaxNumberOfMessages=1, VisibilityTimeout=2)
    equal("1", first["Body"], "first")
    equal("3", one(url)["Body"], "the other group flows")
    equal([], receive(url), "the group waits")
    again = one(url)
    equal("1", again["Body"], "back again, before the second")
    refused(
        **INVALID,
        call=SQS.delete_message,
        says="The receipt handle has expired.",
        QueueUrl=url,
        ReceiptHandle=first["ReceiptHandle"],
    )
    SQS.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    equal("2", one(url)["Body"], "then the second")


@check("fifo-deduplication")
def fifo_deduplication():
    url = fifo("ids")
    send = SQS.send_message
    first = send(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1")
    again = send(QueueUrl=url, MessageBody="y", MessageGroupId="h", MessageDeduplicationId="1")
    for name in ("MessageId", "SequenceNumber"):
        equal(first[name], again[name], name)
    equal("x", one(url)["Body"], "body")
    equal([], receive(url), "the other one")
    refused(
        **INVALID,
        call=send,
        says="The queue should either have ContentBasedDeduplication enabled or "
        "MessageDeduplicationId provided explicitly",
        QueueUrl=url,
        MessageBody="x",
        MessageGroupId="g",
    )
    by_content = fifo("content", ContentBasedDeduplication="true")
    for _ in range(2):
        send(QueueUrl=by_content, MessageBody="x", MessageGroupId="g")
    message = one(by_content)
    wanted = hashlib.sha256(b"x").hexdigest()
    equal(wanted, message["Attributes"]["MessageDeduplicationId"], "id")
    equal("0", attributes(by_content)["ApproximateNumberOfMessages"], "others")
    by_group = fifo(
        "by-group", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId"
    )
    for group in "ghg":
        send(QueueUrl=by_group, MessageBody="x", MessageGroupId=group, MessageDeduplicationId="1")
    equal("2", attributes(by_group)["ApproximateNumberOfMessages"], "one for each group")


@check("fifo-attempts")
def fifo_attempts():
    url = fifo("attempts")
    for group in "ab":
        SQS.send_message(
            QueueUrl=url, MessageBody=group, MessageGroupId=group, MessageDeduplicationId=group
        )
    ask = {"MaxNumberOfMessages": 10, "ReceiveRequestAttemptId": "attempt"}
    first = receive(url, **ask)
    equal(["a", "b"], sorted(bodies(first)), "first")
    equal(first, receive(url, **ask), "the same attempt")
    equal([], receive(url, **{**ask, "ReceiveRequestAttemptId": "other"}), "another one")


@check("fifo-refusals")
def fifo_refusals():
    url = fifo("refusals")
    send = SQS.send_message
    refused(
        **MISSING,
        call=send,
        says="The request must contain the parameter MessageGroupId.",
        QueueUrl=url,
        MessageBody="x",
        MessageDeduplicationId="1",
    )
    common = {"QueueUrl": url, "MessageBody": "x", "MessageDeduplicationId": "1"}
    refused(**INVALID, call=send, MessageGroupId="g" * 129, **common)
    refused(
        **INVALID,
        call=send,
        says="The request include parameter that is not valid for this queue type",
        MessageGroupId="g",
        DelaySeconds=5,
        **common,
    )
    plain = queue("no-fifo")
    refused(
        **INVALID,
        call=send,
        says="The request include parameter that is not valid for this queue type",
        QueueUrl=plain,
        MessageBody="x",
        MessageDeduplicationId="1",
    )
    # The group of a message in a standard queue is kept.
    send(QueueUrl=plain, MessageBody="x", MessageGroupId="tenant")
    equal("tenant", one(plain)["Attributes"]["MessageGroupId"], "group")
    refused(
        **INVALID,
        call=SQS.create_queue,
        QueueName=f"no-suffix-{RUN}",
        Attributes={"FifoQueue": "true"},
    )
    refused(
        code="InvalidAttributeValue",
        name="InvalidAttributeValue",
        call=SQS.set_queue_attributes,
        says="Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not "
        "supported.",
        QueueUrl=plain,
        Attributes={"FifoQueue": "true"},
    )


@check("dead-letters-and-moves")
def dead_letters():
    dead = queue("dead")
    policy = {"deadLetterTargetArn": arn(dead), "maxReceiveCount": 2}
    url = queue("dies", {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "1"})
    equal(policy, json.loads(attributes(url)["RedrivePolicy"]), "policy")
    equal([url], SQS.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], "sources")
    sent = SQS.send_message(
        QueueUrl=url,
        MessageBody="x",
        MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}},
    )
    for count in "12":
        message = one(url, VisibilityTimeout=1)
        equal(count, message["Attributes"]["ApproximateReceiveCount"], "count")
    message = one(dead, VisibilityTimeout=0)
    equal(sent["MessageId"], message["MessageId"], "id")
    equal("b", message["MessageAttributes"]["a"]["StringValue"], "attribute")
    system = message["Attributes"]
    equal(arn(url), system["DeadLetterQueueSourceArn"], "source")
    equal("3", system["ApproximateReceiveCount"], "count goes on")
    refused(
        **INVALID,
        call=SQS.start_message_move_task,
        says="Source queue must be configured as a Dead Letter Queue.",
        SourceArn=arn(url),
    )
    refused(
        code="ResourceNotFoundException",
        name="ResourceNotFoundException",
        status=404,
        call=SQS.start_message_move_task,
        says="The resource that you specified for the SourceArn parameter doesn't exist.",
        SourceArn=arn(url) + "x",
    )
    started = SQS.start_message_move_task(SourceArn=arn(dead), MaxNumberOfMessagesPerSecond=500)
    ensure(started["TaskHandle"], started)
    back = one(url)
    equal(("x", "1"), (back["Body"], back["Attributes"]["ApproximateReceiveCount"]), "back")
    ensure(back["MessageId"] != sent["MessageId"], "a moved message has a new id")

    def done():
        results = SQS.list_message_move_tasks(SourceArn=arn(dead))["Results"]
        return results[0] if results[0]["Status"] == "COMPLETED" else None

    task = until("the task", done)
    equal((arn(dead), 1), (task["SourceArn"], task["ApproximateNumberOfMessagesMoved"]), "task")
    refused(
        code="ResourceNotFoundException",
        name="ResourceNotFoundException",
        status=404,
        call=SQS.list_message_move_tasks,
        SourceArn=arn(dead) + "x",
    )


@check("moves-are-cancelled")
def moves_are_cancelled():
    dead = queue("cancelled")
    queue("cancels", {"RedrivePolicy": redrive(dead, 1)})
    to = queue("elsewhere")
    for i in range(0, 100, 10):
        entries = [{"Id": str(j), "MessageBody": str(j)} for j in range(i, i + 10)]
        SQS.send_message_batch(QueueUrl=dead, Entries=entries)
    start = {"SourceArn": arn(dead), "DestinationArn": arn(to), "MaxNumberOfMessagesPerSecond": 1}
    handle = SQS.start_message_move_task(**start)["TaskHandle"]
    refused(
        **INVALID,
        call=SQS.start_message_move_task,
        says="There is already a task running.",
        **start,
    )
    task = SQS.list_message_move_tasks(SourceArn=arn(dead))["Results"][0]
    equal(("RUNNING", handle, 1), (task["Status"], task["TaskHandle"],
                                   task["MaxNumberOfMessagesPerSecond"]), "task")
    SQS.cancel_message_move_task(TaskHandle=handle)

    def ended():
        task = SQS.list_message_move_tasks(SourceArn=arn(dead))["Results"][0]
        return task if task["Status"] == "CANCELLED" else None

    ensure("TaskHandle" not in until("the end", ended), "a handle of what has ended")


def redrive(dead, count):
    return json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": count})


@check("redrive-policies")
def redrive_policies():
    dead, fifo_dead, closed = queue("p-dead"), fifo("p-dead"), queue("p-closed")
    SQS.set_queue_attributes(
        QueueUrl=closed, Attributes={"RedriveAllowPolicy": '{"redrivePermission":"denyAll"}'}
    )
    url = queue("policies")
    for policy in (
        redrive(fifo_dead, 3),
        redrive(closed, 3),
        redrive(dead, 1001),
        redrive(dead, 3).replace("p-dead", "p-nowhere"),
        '{"maxReceiveCount":3}',
        '{"deadLetterTargetArn":"%s"}' % arn(dead),
    ):
        refused(
            **INVALID,
            call=SQS.set_queue_attributes,
            QueueUrl=url,
            Attributes={"RedrivePolicy": policy},
        )
    SQS.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive(dead, "7")})
    equal(7, json.loads(attributes(url)["RedrivePolicy"])["maxReceiveCount"], "count")
    SQS.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    ensure("RedrivePolicy" not in attributes(url), "it was taken away")


@check("queue-attributes")
def queue_attributes():
    wanted = {
        "VisibilityTimeout": "43200",
        "DelaySeconds": "900",
        "MaximumMessageSize": "1024",
        "MessageRetentionPeriod": "1209600",
        "ReceiveMessageWaitTimeSeconds": "20",
        "Policy": '{"Version":"2012-10-17","Statement":[]}',
        "RedriveAllowPolicy": '{"redrivePermission":"allowAll"}',
    }
    url = queue("all-attributes", wanted)
    told = attributes(url)
    for name, value in wanted.items():
        equal(value, told[name], name)
    equal({"DelaySeconds": "900"}, attributes(url, "DelaySeconds"), "one")
    # Again with the same, with some and with none.
    for some in (wanted, {"DelaySeconds": "900"}, {}):
        equal(url, queue("all-attributes", some), "the same queue")
    refused(
        code="QueueAlreadyExists",
        name="QueueNameExists",
        call=SQS.create_queue,
        says="A queue already exists with the same name and a different value for attribute "
        "DelaySeconds",
        QueueName=url.rsplit("/", 1)[1],
        Attributes={"DelaySeconds": "1"},
    )
    refused(
        code="InvalidAttributeName",
        name="InvalidAttributeName",
        call=SQS.get_queue_attributes,
        says="Unknown Attribute Nothing.",
        QueueUrl=url,
        AttributeNames=["Nothing"],
    )
    refused(
        code="InvalidAttributeName",
        name="InvalidAttributeName",
        call=SQS.set_queue_attributes,
        QueueUrl=url,
        Attributes={"QueueArn": "x"},
    )
    refused(
        code="InvalidAttributeValue",
        name="InvalidAttributeValue",
        call=SQS.set_queue_attributes,
        QueueUrl=url,
        Attributes={"VisibilityTimeout": "43201"},
    )
    refused(
        code="InvalidAttributeValue",
        name="InvalidAttributeValue",
        call=SQS.set_queue_attributes,
        QueueUrl=url,
        Attributes={"KmsMasterKeyId": "alias/aws/sqs"},
    )
    refused(
        **INVALID,
        call=SQS.send_message,
        says="One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
        QueueUrl=url,
        MessageBody="x" * 1025,
    )
    plain = attributes(queue("defaults"))
    for name, value in {
        "VisibilityTimeout": "30",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
    }.items():
        equal(value, plain[name], name)
    ensure("FifoQueue" not in plain and "Policy" not in plain, plain)
    of_fifo = attributes(fifo("defaults"))
    for name, value in {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
    }.items():
        equal(value, of_fifo[name], name)


@check("queues-are-found")
def queues_are_found():
    urls = sorted(queue(f"listed-{i}") for i in range(5))
    prefix = urls[0].rsplit("/", 1)[1].split("-0-")[0]
    found = SQS.list_queues(QueueNamePrefix=prefix)
    listed = {url for url in found["QueueUrls"] if url in urls}
    equal(set(urls), listed, "all")
    pages, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        page = SQS.list_queues(QueueNamePrefix=prefix, MaxResults=2, **more)
        pages += page.get("QueueUrls", [])
        token = page.get("NextToken")
        if not token:
            break
    equal(sorted(found["QueueUrls"]), sorted(pages), "by pages")
    name = urls[0].rsplit("/", 1)[1]
    equal(urls[0], SQS.get_queue_url(QueueName=name)["QueueUrl"], "by name")
    refused(**NO_QUEUE, call=SQS.get_queue_url, QueueName=name + "x")
    says = "The specified queue does not exist" if JSON else "for this wsdl version."
    refused(**NO_QUEUE, call=SQS.send_message, says=says, QueueUrl=urls[0] + "x", MessageBody="x")
    refused(**INVALID, call=SQS.create_queue, QueueName="no name")


@check("tags-and-permissions")
def tags_and_permissions():
    url = queue("tags", tags={"team": "water", "k": ""})
    SQS.tag_queue(QueueUrl=url, Tags={"team": "river"})
    equal({"team": "river", "k": ""}, SQS.list_queue_tags(QueueUrl=url)["Tags"], "tags")
    SQS.untag_queue(QueueUrl=url, TagKeys=["team", "nothing"])
    equal({"k": ""}, SQS.list_queue_tags(QueueUrl=url)["Tags"], "tags")
    grant = {"AWSAccountIds": ["123456789012"], "Actions": ["SendMessage", "ReceiveMessage"]}
    SQS.add_permission(QueueUrl=url, Label="one", **grant)
    refused(
        **INVALID, call=SQS.add_permission, says="Already exists.", QueueUrl=url, Label="one", **grant
    )
    statement = json.loads(attributes(url)["Policy"])["Statement"][0]
    equal(["SQS:SendMessage", "SQS:ReceiveMessage"], statement["Action"], "actions")
    equal("arn:aws:iam::123456789012:root", statement["Principal"]["AWS"], "principal")
    SQS.remove_permission(QueueUrl=url, Label="one")
    ensure("Policy" not in attributes(url), "it was taken away")
    refused(**INVALID, call=SQS.remove_permission, QueueUrl=url, Label="one")


@check("purge-and-delete")
def purge_and_delete():
    url = queue("purged")
    for i in range(3):
        SQS.send_message(QueueUrl=url, MessageBody=str(i), DelaySeconds=900 if i == 2 else 0)
    one(url)
    SQS.purge_queue(QueueUrl=url)
    counted = attributes(url)
    for name in ("", "NotVisible", "Delayed"):
        equal("0", counted[f"ApproximateNumberOfMessages{name}"], name)
    name = url.rsplit("/", 1)[1]
    refused(
        code="AWS.SimpleQueueService.PurgeQueueInProgress",
        name="PurgeQueueInProgress",
        status=403,
        call=SQS.purge_queue,
        says=f"Only one PurgeQueue operation on {name} is allowed every 60 seconds.",
        QueueUrl=url,
    )
    SQS.delete_queue(QueueUrl=url)
    refused(**NO_QUEUE, call=SQS.receive_message, QueueUrl=url)
    refused(
        code="AWS.SimpleQueueService.QueueDeletedRecently",
        name="QueueDeletedRecently",
        call=SQS.create_queue,
        QueueName=name,
    )


@check("bad-messages")
def bad_messages():
    url = queue("bad")
    send = SQS.send_message
    text = {"DataType": "String", "StringValue": "x"}
    for says, given in (
        ("must contain a non-empty value of type 'String'.", {"A": {**text, "StringValue": ""}}),
        ("The type of message (user) attribute 'A' is invalid.", {"A": {**text, "DataType": "T"}}),
        ("Can't cast the value", {"A": {"DataType": "Number", "StringValue": "x"}}),
        ("exceeds the allowed maximum [10].", {f"a{i}": text for i in range(11)}),
        ("invalid or reserved", {"AWS.A": text}),
    ):
        refused(
            **INVALID, call=send, says=says, QueueUrl=url, MessageBody="x", MessageAttributes=given
        )
    refused(**MISSING, call=send, QueueUrl=url, MessageBody="")
    if JSON:
        refused(
            code="InvalidMessageContents",
            name="InvalidMessageContents",
            call=send,
            QueueUrl=url,
            MessageBody="\x00",
        )
    refused(**INVALID, call=send, QueueUrl=url, MessageBody="x" * 1_048_577)
    send(QueueUrl=url, MessageBody="x" * 1_048_576)
    equal(1_048_576, len(one(url)["Body"]), "the largest")
    for parameter, value in (
        ("MaxNumberOfMessages", 0),
        ("MaxNumberOfMessages", 11),
        ("WaitTimeSeconds", 21),
        ("VisibilityTimeout", -1),
        ("VisibilityTimeout", 43_201),
    ):
        refused(**INVALID, call=SQS.receive_message, QueueUrl=url, **{parameter: value})
    for handle in ("x", "", "AQAAAAAAAAABAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAaIKfb3ZtjckKmi-LG4"):
        code = "ReceiptHandleIsInvalid" if handle else "MissingParameter"
        refused(
            code=code,
            status=404 if handle else 400,
            call=SQS.delete_message,
            QueueUrl=url,
            ReceiptHandle=handle,
        )


@check("signatures")
def signatures():
    """What is signed is taken, whoever signs, where no keys are asked for."""
    other = boto3.client(
        "sqs",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="somebody",
        aws_secret_access_key="else",
    )
    ensure(other.list_queues(QueueNamePrefix="nothing-") is not None, "no answer")


if __name__ == "__main__":
    sys.exit(main(lambda function: function()))
