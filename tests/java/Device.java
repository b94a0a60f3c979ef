import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Scanner;
import java.util.concurrent.CountDownLatch;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.eclipse.paho.client.mqttv3.*;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/**
 * A device as one writes it for LMQ, with Paho over MQTT 3.1.1. It knows nothing of the bridge: only its address is another.
 *
 * Arguments: server URI, access key, instance, client id, and {@code Signature SECRET} or {@code Token TOKENS}. It says
 * {@code connected}, or {@code refused CODE} and ends; then {@code lost} and {@code back} as its connection goes and comes. It
 * reads a command a line, and answers each with {@code ok} or {@code refused} when it is done: {@code subscribe FILTER},
 * {@code publish TOPIC TEXT}, {@code order}, {@code quit}. What it receives is a line {@code received TOPIC TEXT}. Parts are
 * separated by tabs.
 */
public class Device {
    public static void main(String[] a) throws Exception {
        String server = a[0], accessKey = a[1], instance = a[2], clientId = a[3], mode = a[4];
        MqttConnectOptions options = new MqttConnectOptions();
        options.setUserName(mode + "|" + accessKey + "|" + instance);
        // A device with tokens never learns the secret.
        options.setPassword((mode.equals("Signature") ? sign(clientId, a[5]) : a[5]).toCharArray());
        options.setCleanSession(true);
        options.setKeepAliveInterval(90);
        options.setAutomaticReconnect(true);
        options.setMqttVersion(MqttConnectOptions.MQTT_VERSION_3_1_1);
        options.setConnectionTimeout(5000);

        MqttClient client = new MqttClient(server, clientId, new MemoryPersistence());
        client.setTimeToWait(10_000);
        CountDownLatch connected = new CountDownLatch(1);
        client.setCallback(new MqttCallbackExtended() {
            @Override public void connectComplete(boolean reconnect, String uri) {
                if (reconnect) {
                    say("back");
                }
                connected.countDown();
            }
            @Override public void connectionLost(Throwable cause) { say("lost", cause.toString()); }
            @Override public void messageArrived(String topic, MqttMessage message) {
                say("received", topic, new String(message.getPayload(), StandardCharsets.UTF_8));
            }
            @Override public void deliveryComplete(IMqttDeliveryToken token) { }
        });
        try {
            client.connect(options);
        } catch (MqttSecurityException refused) {
            say("refused", String.valueOf(refused.getReasonCode()));
            System.exit(0);
        }
        connected.await();
        say("connected");

        Scanner commands = new Scanner(System.in, StandardCharsets.UTF_8);
        while (commands.hasNextLine()) {
            String[] command = commands.nextLine().split("\t");
            say("done", command[0], carryOut(client, command));
        }
        System.exit(0);
    }

    static String carryOut(MqttClient client, String[] command) {
        try {
            switch (command[0]) {
                case "subscribe" -> client.subscribe(command[1], 1);
                case "publish" -> client.publish(command[1], message(command[2]));
                // As the manual has it: on every connect, before anything else that is to be in order.
                case "order" -> client.publish("$SYS/enableOrderMsg", message("{\"order\":\"true\"}"));
                case "quit" -> client.disconnect();
                default -> throw new IllegalArgumentException(command[0]);
            }
            return "ok";
        } catch (MqttException refused) {
            return "refused";
        }
    }

    static MqttMessage message(String text) {
        MqttMessage message = new MqttMessage(text.getBytes(StandardCharsets.UTF_8));
        message.setQos(1);
        return message;
    }

    static String sign(String text, String secret) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA1");
        mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA1"));
        return Base64.getEncoder().encodeToString(mac.doFinal(text.getBytes(StandardCharsets.UTF_8)));
    }

    static synchronized void say(String... parts) {
        System.out.println(String.join("\t", parts));
    }
}
