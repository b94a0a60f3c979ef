import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.eclipse.paho.client.mqttv3.*;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/** What one writes first: each message is sent, and then acknowledged. Arguments: up|down, MQTT address, name server, topic, id. */
public class PlainBridge {
    public static void main(String[] a) throws Exception {
        MqttClient mqtt = new MqttClient(a[1], a[4], new MemoryPersistence());
        MqttConnectOptions options = new MqttConnectOptions();
        options.setCleanSession(a[0].equals("down"));
        options.setMaxInflight(1000);
        if (a[0].equals("up")) up(mqtt, options, a[2], a[3], a[4]);
        else down(mqtt, options, a[2], a[3], a[4]);
    }

    static void up(MqttClient mqtt, MqttConnectOptions options, String nameServer, String topic, String id) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(id);
        producer.setNamesrvAddr(nameServer);
        producer.setSendMsgTimeout(20000);
        producer.start();
        mqtt.setManualAcks(true);
        mqtt.setCallback(new MqttCallback() {
            public void messageArrived(String from, MqttMessage m) throws Exception {
                Message message = new Message(topic, m.getPayload());
                message.putUserProperty("mqttSecondTopic", from.substring(from.indexOf('/')));
                producer.send(message);
                mqtt.messageArrivedComplete(m.getId(), m.getQos());
            }
            public void connectionLost(Throwable cause) { cause.printStackTrace(); System.exit(1); }
            public void deliveryComplete(IMqttDeliveryToken token) { }
        });
        mqtt.connect(options);
        mqtt.subscribe(topic + "/#", 1);
    }

    static void down(MqttClient mqtt, MqttConnectOptions options, String nameServer, String topic, String id) throws Exception {
        mqtt.connect(options);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(id);
        consumer.setNamesrvAddr(nameServer);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            try {
                for (MessageExt m : messages) mqtt.publish(topic + m.getUserProperty("mqttSecondTopic"), m.getBody(), 1, false);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            } catch (MqttException e) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
        });
        consumer.start();
    }
}
