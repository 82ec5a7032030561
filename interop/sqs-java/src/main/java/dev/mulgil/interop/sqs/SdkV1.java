package dev.mulgil.interop.sqs;

import static dev.mulgil.interop.sqs.Main.ensure;
import static dev.mulgil.interop.sqs.Main.equal;
import static dev.mulgil.interop.sqs.Main.until;

import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.sqs.AmazonSQS;
import com.amazonaws.services.sqs.AmazonSQSClientBuilder;
import com.amazonaws.services.sqs.model.AmazonSQSException;
import com.amazonaws.services.sqs.model.CreateQueueRequest;
import com.amazonaws.services.sqs.model.Message;
import com.amazonaws.services.sqs.model.MessageAttributeValue;
import com.amazonaws.services.sqs.model.QueueDoesNotExistException;
import com.amazonaws.services.sqs.model.ReceiveMessageRequest;
import com.amazonaws.services.sqs.model.SendMessageRequest;
import java.nio.ByteBuffer;
import java.util.Map;

/** AWS SDK for Java v1 of a version that speaks the Query protocol, and compares digests itself. */
final class SdkV1 {
    private final AmazonSQS sqs;

    private SdkV1(String endpoint) {
        sqs = AmazonSQSClientBuilder.standard()
                .withEndpointConfiguration(new EndpointConfiguration(endpoint, "us-east-1"))
                .withCredentials(new AWSStaticCredentialsProvider(new BasicAWSCredentials("x", "x")))
                .build();
    }

    static void register(String endpoint, Map<String, Main.Check> checks) {
        SdkV1 own = new SdkV1(endpoint);
        checks.put("v1-send-receive-delete", own::sendReceiveDelete);
        checks.put("v1-errors", own::errors);
    }

    private String queue(String name) {
        return sqs.createQueue(new CreateQueueRequest("java1-" + name + "-" + Main.RUN)).getQueueUrl();
    }

    private void sendReceiveDelete() throws Exception {
        String url = queue("plain");
        ByteBuffer bytes = ByteBuffer.wrap(new byte[] {0, 1, -1});
        String body = "<\u00e9> & \ud83c\udf0a\n";
        String id = sqs.sendMessage(new SendMessageRequest(url, body)
                        .addMessageAttributesEntry("text",
                                new MessageAttributeValue().withDataType("String").withStringValue("w\u00e4ter"))
                        .addMessageAttributesEntry("bytes",
                                new MessageAttributeValue().withDataType("Binary.raw").withBinaryValue(bytes)))
                .getMessageId();
        ReceiveMessageRequest ask = new ReceiveMessageRequest(url)
                .withWaitTimeSeconds(2).withAttributeNames("All").withMessageAttributeNames("All");
        Message message = until("a message",
                () -> sqs.receiveMessage(ask).getMessages().stream().findFirst().orElse(null));
        equal(id, message.getMessageId(), "id");
        equal(body, message.getBody(), "body");
        equal("w\u00e4ter", message.getMessageAttributes().get("text").getStringValue(), "text");
        equal("1", message.getAttributes().get("ApproximateReceiveCount"), "count");
        sqs.deleteMessage(url, message.getReceiptHandle());
        ensure(sqs.receiveMessage(ask).getMessages().isEmpty(), "it is still there");
    }

    private void errors() {
        try {
            sqs.getQueueUrl("nothing");
            ensure(false, "found");
        } catch (QueueDoesNotExistException e) {
            ensure(e.getErrorMessage().contains("for this wsdl version"), e.getErrorMessage());
        }
        try {
            sqs.receiveMessage(new ReceiveMessageRequest(queue("errors")).withMaxNumberOfMessages(11));
            ensure(false, "received");
        } catch (AmazonSQSException e) {
            equal("InvalidParameterValue", e.getErrorCode(), "code");
        }
    }
}
