import com.aliyun.openservices.ons.api.*;
import com.aliyun.openservices.ons.api.order.*;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * A back end as one writes it for LMQ, with the vendor's own client library. It knows nothing of the bridge: only its
 * addresses are others.
 *
 * Arguments: name server, address of the status query and the token service, access key, secret, instance, group. It reads a
 * command a line, and answers each when it is done: {@code consume TOPIC TAGS}, {@code consume-ordered TOPIC},
 * {@code send TOPIC TEXT NAME=VALUE...}, {@code send-ordered TOPIC SHARD_KEY TEXT NAME=VALUE...}, {@code online CLIENT_ID},
 * {@code apply ACTIONS FILTER...}, {@code revoke TOKEN}, {@code query TOKEN}. What it receives is a line
 * {@code received TOPIC TAG QUEUE PROPERTIES TEXT}. Parts are separated by tabs.
 */
public class BackEnd {
    static Properties properties = new Properties();
    static String service, accessKey, secret, instance;
    static Producer producer;
    static OrderProducer orderProducer;

    public static void main(String[] a) throws Exception {
        properties.setProperty(PropertyKeyConst.NAMESRV_ADDR, a[0]);
        service = a[1];
        accessKey = a[2];
        secret = a[3];
        instance = a[4];
        properties.setProperty(PropertyKeyConst.AccessKey, accessKey);
        properties.setProperty(PropertyKeyConst.SecretKey, secret);
        properties.setProperty(PropertyKeyConst.GROUP_ID, a[5]);
        say("connected");
        Scanner commands = new Scanner(System.in, StandardCharsets.UTF_8);
        while (commands.hasNextLine()) {
            String[] command = commands.nextLine().split("\t");
            String answer = switch (command[0]) {
                case "consume" -> consume(command[1], command[2]);
                case "consume-ordered" -> consumeOrdered(command[1]);
                case "send" -> send(message(command[1], command[2], command, 3));
                case "send-ordered" -> sendOrdered(message(command[1], command[3], command, 4), command[2]);
                case "online" -> online(command[1]);
                case "apply" -> apply(command[1], Arrays.asList(command).subList(2, command.length));
                case "revoke", "query" -> post("/token/" + command[0], Map.of("token", command[1]), Map.of());
                default -> throw new IllegalArgumentException(command[0]);
            };
            say("done", command[0], answer);
        }
        System.exit(0);
    }

    static String consume(String topic, String tags) {
        Consumer consumer = ONSFactory.createConsumer(ofGroup(topic));
        consumer.subscribe(topic, tags, (message, context) -> {
            received(message);
            return Action.CommitMessage;
        });
        consumer.start();
        return topic;
    }

    static String consumeOrdered(String topic) {
        OrderConsumer consumer = ONSFactory.createOrderedConsumer(ofGroup(topic));
        consumer.subscribe(topic, "*", (message, context) -> {
            received(message);
            return OrderAction.Success;
        });
        consumer.start();
        return topic;
    }

    /** Each topic is read in a group of its own, since members of one group must read the same. */
    static Properties ofGroup(String topic) {
        Properties own = new Properties();
        own.putAll(properties);
        own.setProperty(PropertyKeyConst.GROUP_ID, properties.getProperty(PropertyKeyConst.GROUP_ID) + "_" + topic);
        return own;
    }

    static Message message(String topic, String text, String[] command, int first) {
        Message message = new Message(topic, "MQ2MQTT", text.getBytes(StandardCharsets.UTF_8));
        for (int i = first; i < command.length; i++) {
            String[] pair = command[i].split("=", 2);
            message.putUserProperties(pair[0], pair[1]);
        }
        return message;
    }

    static String send(Message message) {
        if (producer == null) {
            producer = ONSFactory.createProducer(properties);
            producer.start();
        }
        return producer.send(message).getMessageId();
    }

    static String sendOrdered(Message message, String shardKey) {
        if (orderProducer == null) {
            orderProducer = ONSFactory.createOrderProducer(properties);
            orderProducer.start();
        }
        return orderProducer.send(message, shardKey).getMessageId();
    }

    /** The status query: the number of connections of a client. */
    static String online(String clientId) throws Exception {
        Map<String, String> asked = new HashMap<>();
        asked.put("accessKey", accessKey);
        asked.put("resource", clientId);
        asked.put("timestamp", String.valueOf(System.currentTimeMillis()));
        asked.put("instanceId", instance);
        asked.put("signature", sign(asked));
        return ask(HttpRequest.newBuilder(URI.create(service + "/route/clientId/get?" + encoded(asked))));
    }

    /** A token for some topics, as the vendor's own demo applies for one. */
    static String apply(String actions, List<String> filters) throws Exception {
        List<String> resources = new ArrayList<>(filters);
        Collections.sort(resources);
        Map<String, String> signed = new HashMap<>();
        signed.put("resources", String.join(",", resources));
        signed.put("actions", actions);
        signed.put("serviceName", "mq");
        signed.put("expireTime", String.valueOf(System.currentTimeMillis() + 2592000000L));
        signed.put("instanceId", instance);
        return post("/token/apply", signed, Map.of("proxyType", "MQTT"));
    }

    static String post(String path, Map<String, String> signed, Map<String, String> beside) throws Exception {
        Map<String, String> form = new HashMap<>(signed);
        form.putAll(beside);
        form.put("accessKey", accessKey);
        form.put("signature", sign(signed));
        return ask(HttpRequest.newBuilder(URI.create(service + path))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(HttpRequest.BodyPublishers.ofString(encoded(form))));
    }

    static String ask(HttpRequest.Builder request) throws Exception {
        return HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString()).body();
    }

    static String encoded(Map<String, String> parameters) {
        StringJoiner text = new StringJoiner("&");
        parameters.forEach((name, value) -> text.add(name + "=" + URLEncoder.encode(value, StandardCharsets.UTF_8)));
        return text.toString();
    }

    /** HMAC-SHA1 of all parameters, sorted by name. */
    static String sign(Map<String, String> parameters) throws Exception {
        StringJoiner text = new StringJoiner("&");
        new TreeMap<>(parameters).forEach((name, value) -> text.add(name + "=" + value));
        Mac mac = Mac.getInstance("HmacSHA1");
        mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA1"));
        return Base64.getEncoder().encodeToString(mac.doFinal(text.toString().getBytes(StandardCharsets.UTF_8)));
    }

    static void received(Message message) {
        TreeMap<String, String> own = new TreeMap<>();
        message.getUserProperties().forEach((name, value) -> own.put(name.toString(), value.toString()));
        String queue = String.valueOf(message.getTopicPartition().getPartition());
        say("received", message.getTopic(), String.valueOf(message.getTag()), queue, own.toString(),
            new String(message.getBody(), StandardCharsets.UTF_8));
    }

    static synchronized void say(String... parts) {
        System.out.println(String.join("\t", parts));
    }
}
