package dev.mulgil.interop.sqs;

import static dev.mulgil.interop.sqs.Main.ensure;
import static dev.mulgil.interop.sqs.Main.equal;

import com.amazon.sqs.javamessaging.ProviderConfiguration;
import com.amazon.sqs.javamessaging.SQSConnection;
import com.amazon.sqs.javamessaging.SQSConnectionFactory;
import com.amazon.sqs.javamessaging.SQSSession;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.QueueAttributeName;

/** The Amazon SQS Java Messaging Library: JMS over SQS. */
final class Jms {
    private final SqsClient sqs;

    private Jms(String endpoint) {
        sqs = SdkV2.client(endpoint);
    }

    static void register(String endpoint, Map<String, Main.Check> checks) {
        Jms own = new Jms(endpoint);
        checks.put("jms-acknowledge", own::acknowledge);
        checks.put("jms-listener-fifo", own::listenerFifo);
    }

    private SQSConnection connect() throws Exception {
        return new SQSConnectionFactory(new ProviderConfiguration().withNumberOfMessagesToPrefetch(5), sqs)
                .createConnection();
    }

    private void acknowledge() throws Exception {
        String name = "jms-plain-" + Main.RUN;
        sqs.createQueue(r -> r.queueName(name).attributes(Map.of(QueueAttributeName.VISIBILITY_TIMEOUT, "1")));
        try (SQSConnection connection = connect()) {
            Session session = connection.createSession(false, SQSSession.UNORDERED_ACKNOWLEDGE);
            TextMessage sent = session.createTextMessage("hello");
            sent.setStringProperty("color", "blue");
            sent.setIntProperty("size", 7);
            session.createProducer(session.createQueue(name)).send(sent);
            MessageConsumer consumer = session.createConsumer(session.createQueue(name));
            connection.start();
            // Not acknowledged, it comes again.
            Message first = consumer.receive(10_000);
            ensure(first != null, "nothing came");
            Message again = consumer.receive(10_000);
            ensure(again != null, "nothing came back");
            equal("hello", ((TextMessage) again).getText(), "text");
            equal("blue", again.getStringProperty("color"), "color");
            equal(7, again.getIntProperty("size"), "size");
            ensure(again.getIntProperty("JMSXDeliveryCount") >= 2, "count");
            again.acknowledge();
            ensure(consumer.receive(2_500) == null, "it came once more");
        }
    }

    private void listenerFifo() throws Exception {
        String name = "jms-order-" + Main.RUN + ".fifo";
        sqs.createQueue(r -> r.queueName(name).attributes(Map.of(
                QueueAttributeName.FIFO_QUEUE, "true",
                QueueAttributeName.CONTENT_BASED_DEDUPLICATION, "true")));
        List<String> got = new ArrayList<>();
        CountDownLatch all = new CountDownLatch(20);
        try (SQSConnection connection = connect()) {
            Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
            session.createConsumer(session.createQueue(name)).setMessageListener(message -> {
                try {
                    got.add(((TextMessage) message).getText());
                } catch (jakarta.jms.JMSException e) {
                    throw new IllegalStateException(e);
                }
                all.countDown();
            });
            connection.start();
            List<String> wanted = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                TextMessage message = session.createTextMessage("m" + i);
                message.setStringProperty("JMSXGroupID", "g");
                session.createProducer(session.createQueue(name)).send(message);
                wanted.add("m" + i);
            }
            ensure(all.await(60, TimeUnit.SECONDS), "only " + got + " came");
            equal(wanted, got, "order");
        }
    }
}
