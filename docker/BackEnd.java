import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** A program on the RocketMQ side: prints what machines measure, and has the fans of warm ones run. */
public final class BackEnd {
    public static void main(String[] args) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("GID_backend_commands");
        producer.start();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("GID_backend");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe("plant", "*");
        consumer.registerMessageListener((MessageListenerOrderly) (readings, context) -> {
            try {
                for (MessageExt reading : readings) {
                    answer(producer, reading);
                }
                return ConsumeOrderlyStatus.SUCCESS;
            } catch (Exception e) {
                System.out.println("again later: " + e);
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
        });
        consumer.start();
        System.out.println("the back end listens");
        Thread.currentThread().join();
    }

    private static void answer(DefaultMQProducer producer, MessageExt reading) throws Exception {
        String subtopic = reading.getUserProperty("mqttSecondTopic");
        String payload = new String(reading.getBody(), StandardCharsets.UTF_8);
        System.out.println("back end reads  plant " + subtopic + "  " + payload);
        if (subtopic == null || !subtopic.endsWith("/up/temp")) {
            return;
        }
        double temperature = Double.parseDouble(payload);
        if (temperature > 21 && temperature < 24) {
            return;
        }
        String command = temperature >= 24 ? "fan on" : "fan off";
        Message message = new Message("cmd", "MQ2MQTT", command.getBytes(StandardCharsets.UTF_8));
        String target = subtopic.replace("/up/temp", "/fan");
        message.putUserProperty("mqttSecondTopic", target);
        producer.send(message);
        System.out.println("back end sends  cmd " + target + "  " + command);
    }
}
