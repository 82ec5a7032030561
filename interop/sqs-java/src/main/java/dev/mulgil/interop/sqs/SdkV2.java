package dev.mulgil.interop.sqs;

import static dev.mulgil.interop.sqs.Main.ensure;
import static dev.mulgil.interop.sqs.Main.equal;
import static dev.mulgil.interop.sqs.Main.until;

import java.net.URI;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.DeleteMessageBatchRequestEntry;
import software.amazon.awssdk.services.sqs.model.Message;
import software.amazon.awssdk.services.sqs.model.MessageAttributeValue;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeName;
import software.amazon.awssdk.services.sqs.model.QueueAttributeName;
import software.amazon.awssdk.services.sqs.model.QueueDoesNotExistException;
import software.amazon.awssdk.services.sqs.model.ReceiptHandleIsInvalidException;
import software.amazon.awssdk.services.sqs.model.SendMessageBatchRequestEntry;
import software.amazon.awssdk.services.sqs.model.SqsException;

/** AWS SDK for Java v2, which speaks AWS JSON and compares digests itself. */
final class SdkV2 {
    private final SqsClient sqs;

    private SdkV2(String endpoint) {
        sqs = client(endpoint);
    }

    static SqsClient client(String endpoint) {
        return SqsClient.builder()
                .endpointOverride(URI.create(endpoint))
                .region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("x", "x")))
                .httpClient(UrlConnectionHttpClient.create())
                .build();
    }

    static void register(String endpoint, Map<String, Main.Check> checks) {
        SdkV2 own = new SdkV2(endpoint);
        checks.put("v2-send-receive-delete", own::sendReceiveDelete);
        checks.put("v2-batches", own::batches);
        checks.put("v2-errors", own::errors);
        checks.put("v2-fifo", own::fifo);
    }

    private String queue(String name, Map<QueueAttributeName, String> attributes) {
        String end = name.endsWith(".fifo") ? ".fifo" : "";
        String stem = name.substring(0, name.length() - end.length());
        String full = "java-" + stem + "-" + Main.RUN + end;
        return sqs.createQueue(r -> r.queueName(full).attributes(attributes)).queueUrl();
    }

    private List<Message> receive(String url, int most) {
        return sqs.receiveMessage(r -> r.queueUrl(url)
                        .maxNumberOfMessages(most)
                        .waitTimeSeconds(2)
                        .messageSystemAttributeNames(MessageSystemAttributeName.ALL)
                        .messageAttributeNames("All"))
                .messages();
    }

    private Message one(String url) throws Exception {
        return until("a message", () -> receive(url, 1).stream().findFirst().orElse(null));
    }

    private void sendReceiveDelete() throws Exception {
        String url = queue("plain", Map.of());
        SdkBytes bytes = SdkBytes.fromByteArray(new byte[] {0, 1, -1});
        Map<String, MessageAttributeValue> attributes = Map.of(
                "text", MessageAttributeValue.builder().dataType("String").stringValue("w\u00e4ter").build(),
                "number", MessageAttributeValue.builder().dataType("Number.int").stringValue("7").build(),
                "bytes", MessageAttributeValue.builder().dataType("Binary.raw").binaryValue(bytes).build());
        String body = "\u00e9 \ud83c\udf0a\n";
        String id = sqs.sendMessage(r -> r.queueUrl(url).messageBody(body).messageAttributes(attributes)).messageId();
        Message message = one(url);
        equal(id, message.messageId(), "id");
        equal(body, message.body(), "body");
        equal(attributes, message.messageAttributes(), "attributes");
        equal("1", message.attributes().get(MessageSystemAttributeName.APPROXIMATE_RECEIVE_COUNT), "count");
        String handle = message.receiptHandle();
        sqs.changeMessageVisibility(r -> r.queueUrl(url).receiptHandle(handle).visibilityTimeout(0));
        equal("2", one(url).attributes().get(MessageSystemAttributeName.APPROXIMATE_RECEIVE_COUNT), "count");
        sqs.deleteMessage(r -> r.queueUrl(url).receiptHandle(handle));
        QueueAttributeName left = QueueAttributeName.APPROXIMATE_NUMBER_OF_MESSAGES_NOT_VISIBLE;
        equal("0", sqs.getQueueAttributes(r -> r.queueUrl(url).attributeNames(left)).attributes().get(left), "left");
    }

    private void batches() throws Exception {
        String url = queue("batches", Map.of());
        List<SendMessageBatchRequestEntry> entries = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            Integer delay = i == 9 ? 901 : null;
            entries.add(SendMessageBatchRequestEntry.builder()
                    .id("e" + i).messageBody("m" + i).delaySeconds(delay).build());
        }
        var told = sqs.sendMessageBatch(r -> r.queueUrl(url).entries(entries));
        equal(9, told.successful().size(), "sent");
        equal("InvalidParameterValue", told.failed().get(0).code(), "code");
        Map<String, String> handles = new HashMap<>();
        until("nine messages", () -> {
            receive(url, 10).forEach(m -> handles.put(m.body(), m.receiptHandle()));
            return handles.size() == 9 ? handles : null;
        });
        List<DeleteMessageBatchRequestEntry> deletes = handles.entrySet().stream()
                .map(e -> DeleteMessageBatchRequestEntry.builder().id(e.getKey()).receiptHandle(e.getValue()).build())
                .toList();
        equal(9, sqs.deleteMessageBatch(r -> r.queueUrl(url).entries(deletes)).successful().size(), "deleted");
    }

    private void errors() {
        String url = queue("errors", Map.of());
        try {
            sqs.getQueueUrl(r -> r.queueName("nothing"));
            ensure(false, "found");
        } catch (QueueDoesNotExistException e) {
            equal("AWS.SimpleQueueService.NonExistentQueue", e.awsErrorDetails().errorCode(), "code");
            ensure(e.requestId() != null, "no request id");
        }
        try {
            sqs.deleteMessage(r -> r.queueUrl(url).receiptHandle("x"));
            ensure(false, "deleted");
        } catch (ReceiptHandleIsInvalidException e) {
            equal(404, e.statusCode(), "status");
        }
        try {
            sqs.receiveMessage(r -> r.queueUrl(url).maxNumberOfMessages(11));
            ensure(false, "received");
        } catch (SqsException e) {
            equal("InvalidParameterValue", e.awsErrorDetails().errorCode(), "code");
        }
    }

    private void fifo() throws Exception {
        String url = queue("order.fifo", Map.of(
                QueueAttributeName.FIFO_QUEUE, "true",
                QueueAttributeName.CONTENT_BASED_DEDUPLICATION, "true"));
        List<String> ids = new ArrayList<>();
        for (String body : List.of("1", "2", "2", "3")) {
            ids.add(sqs.sendMessage(r -> r.queueUrl(url).messageBody(body).messageGroupId("g")).messageId());
        }
        equal(ids.get(1), ids.get(2), "id of a duplicate");
        equal(List.of("1", "2", "3"), receive(url, 10).stream().map(Message::body).toList(), "order");
    }
}
