import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONArray;
import com.alibaba.fastjson.JSONObject;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * The judge: Apache's own Java client behind lines of JSON, so that tests see RocketMQ with eyes other than ours.
 *
 * Each line of standard input is a request with an `id` and an `op`, each line of standard output its answer, in
 * any order. A request names the cluster it is about: `servers`, and `access` with `secret`, and `tls`. It ends with
 * its input.
 */
public final class Judge {
    /** The clients of one cluster and login. */
    private static final class Cluster {
        final DefaultMQProducer producer;
        final DefaultMQPullConsumer reader;
        final DefaultMQAdminExt admin;

        Cluster(JSONObject to, int number) throws Exception {
            RPCHook hook = hook(to);
            String instance = "judge-" + number;
            producer = new DefaultMQProducer("judge-producer", hook);
            producer.setNamesrvAddr(to.getString("servers"));
            producer.setInstanceName(instance + "-p");
            producer.setUseTLS(to.getBooleanValue("tls"));
            producer.setRetryTimesWhenSendFailed(0);
            producer.setMaxMessageSize(64 << 20);
            producer.start();
            reader = new DefaultMQPullConsumer("judge-reader", hook);
            reader.setNamesrvAddr(to.getString("servers"));
            reader.setInstanceName(instance + "-r");
            reader.setUseTLS(to.getBooleanValue("tls"));
            reader.start();
            admin = new DefaultMQAdminExt(hook, 5000);
            admin.setNamesrvAddr(to.getString("servers"));
            admin.setInstanceName(instance + "-a");
            admin.setUseTLS(to.getBooleanValue("tls"));
            admin.start();
        }
    }

    private static final PrintStream OUT = System.out;
    private static final Map<String, Cluster> CLUSTERS = new ConcurrentHashMap<>();
    private static final Map<Long, AtomicLong> PRODUCED = new ConcurrentHashMap<>();
    private static final Map<Long, DefaultMQPushConsumer> CONSUMERS = new ConcurrentHashMap<>();

    public static void main(String[] args) throws Exception {
        // Whatever a library prints must not be taken for an answer.
        System.setOut(System.err);
        ExecutorService threads = Executors.newCachedThreadPool();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JSONObject request = JSON.parseObject(line);
            threads.execute(() -> answer(request));
        }
        System.exit(0);
    }

    private static void answer(JSONObject request) {
        JSONObject answer = new JSONObject();
        try {
            answer = perform(request);
        } catch (Throwable e) {
            answer.put("error", e.toString());
        }
        answer.put("id", request.getLong("id"));
        say(answer);
    }

    private static void say(JSONObject line) {
        synchronized (OUT) {
            OUT.println(line.toJSONString());
            OUT.flush();
        }
    }

    private static JSONObject perform(JSONObject r) throws Exception {
        switch (r.getString("op")) {
            case "brokers": return brokers(r);
            case "topic": return topic(r);
            case "send": return send(r);
            case "produce": return produce(r);
            case "produced": return count(PRODUCED.get(r.getLong("job")).get());
            case "stored": return stored(r);
            case "read": return read(r);
            case "committed": return committed(r);
            case "consume": return consume(r);
            case "stop": return stop(r);
            case "admin": return admin(r);
            default: throw new IllegalArgumentException("no such op: " + r.getString("op"));
        }
    }

    private static RPCHook hook(JSONObject to) {
        if (to.getString("access") == null) {
            return null;
        }
        return new AclClientRPCHook(new SessionCredentials(to.getString("access"), to.getString("secret")));
    }

    private static Cluster cluster(JSONObject r) throws Exception {
        String key = r.getString("servers") + " " + r.getString("access") + " " + r.getString("secret");
        synchronized (CLUSTERS) {
            Cluster known = CLUSTERS.get(key);
            if (known == null) {
                known = new Cluster(r, CLUSTERS.size());
                CLUSTERS.put(key, known);
            }
            return known;
        }
    }

    private static JSONObject count(long n) {
        JSONObject answer = new JSONObject();
        answer.put("count", n);
        return answer;
    }

    /** The addresses of all brokers that the name servers know. */
    private static JSONObject brokers(JSONObject r) throws Exception {
        JSONArray addresses = new JSONArray();
        cluster(r).admin.examineBrokerClusterInfo().getBrokerAddrTable().values()
            .forEach(broker -> addresses.addAll(broker.getBrokerAddrs().values()));
        JSONObject answer = new JSONObject();
        answer.put("addresses", addresses);
        return answer;
    }

    /** Creates `topic` with `queues` queues on each of `brokers` (addresses). */
    private static JSONObject topic(JSONObject r) throws Exception {
        TopicConfig config = new TopicConfig(r.getString("topic"));
        config.setReadQueueNums(r.getIntValue("queues"));
        config.setWriteQueueNums(r.getIntValue("queues"));
        for (Object broker : r.getJSONArray("brokers")) {
            cluster(r).admin.createAndUpdateTopicConfig(broker.toString(), config);
        }
        return new JSONObject();
    }

    private static Message message(JSONObject r) {
        Message message = new Message(r.getString("topic"), Base64.getDecoder().decode(r.getString("body")));
        if (r.getString("tag") != null) {
            message.setTags(r.getString("tag"));
        }
        if (r.getString("keys") != null) {
            message.setKeys(r.getString("keys"));
        }
        JSONObject properties = r.getJSONObject("properties");
        if (properties != null) {
            for (String name : properties.keySet()) {
                MessageAccessor.putProperty(message, name, properties.getString(name));
            }
        }
        return message;
    }

    /** Sends one message, to `queue` (a number) if there is one. */
    private static JSONObject send(JSONObject r) throws Exception {
        Cluster cluster = cluster(r);
        SendResult result;
        Integer queue = r.getInteger("queue");
        if (queue == null) {
            result = cluster.producer.send(message(r), 5000);
        } else {
            result = cluster.producer.send(message(r), (queues, m, n) -> queues.get((Integer) n), queue, 5000);
        }
        JSONObject answer = new JSONObject();
        answer.put("status", result.getSendStatus().name());
        answer.put("broker", result.getMessageQueue().getBrokerName());
        answer.put("queue", result.getMessageQueue().getQueueId());
        answer.put("offset", result.getQueueOffset());
        answer.put("msgId", result.getMsgId());
        return answer;
    }

    /**
     * Sends `count` numbered messages of `keys` keys, in batches of `batch`, each batch again until it is stored; the
     * messages of one key go to one queue in order. `rate` bounds messages per second, 0 for none. The answer comes
     * when all are stored; `produced` tells how many are by then.
     */
    private static JSONObject produce(JSONObject r) throws Exception {
        Cluster cluster = cluster(r);
        AtomicLong done = PRODUCED.computeIfAbsent(r.getLong("job"), k -> new AtomicLong());
        List<MessageQueue> queues = publishQueues(cluster, r.getString("topic"));
        int lanes = Math.min(queues.size(), r.getIntValue("keys"));
        ExecutorService threads = Executors.newFixedThreadPool(lanes);
        for (int lane = 0; lane < lanes; lane++) {
            int mine = lane;
            threads.execute(() -> fill(cluster, r, queues.get(mine), mine, lanes, done));
        }
        threads.shutdown();
        threads.awaitTermination(1, TimeUnit.HOURS);
        return count(done.get());
    }

    private static List<MessageQueue> publishQueues(Cluster cluster, String topic) throws Exception {
        List<MessageQueue> queues = new ArrayList<>(cluster.producer.fetchPublishMessageQueues(topic));
        queues.sort(null);
        return queues;
    }

    private static void fill(Cluster cluster, JSONObject r, MessageQueue queue, int lane, int lanes, AtomicLong done) {
        long keys = r.getLongValue("keys");
        long count = r.getLongValue("count");
        double rate = r.getDoubleValue("rate") / lanes;
        long started = System.nanoTime();
        long sent = 0;
        List<Message> batch = new ArrayList<>();
        // Number n belongs to key n % keys and is its message n / keys.
        for (long n = 0; n < count; n++) {
            if (n % keys % lanes == lane) {
                batch.add(numbered(r, n % keys, n / keys));
            }
            if (batch.size() >= r.getIntValue("batch") || (n + 1 == count && !batch.isEmpty())) {
                sendUntilStored(cluster, batch, queue);
                sent += batch.size();
                done.addAndGet(batch.size());
                batch = new ArrayList<>();
                if (rate > 0) {
                    sleepUntil(started + (long) (sent / rate * 1e9));
                }
            }
        }
    }

    private static Message numbered(JSONObject r, long key, long number) {
        byte[] body = new byte[Math.max(r.getIntValue("size"), 24)];
        Arrays.fill(body, (byte) ' ');
        byte[] head = ("k" + key + " n" + number + " ").getBytes(StandardCharsets.UTF_8);
        System.arraycopy(head, 0, body, 0, head.length);
        Message message = new Message(r.getString("topic"), body);
        message.setKeys("k" + key);
        if (r.getString("tag") != null) {
            message.setTags(r.getString("tag"));
        }
        if (r.getString("second") != null) {
            message.putUserProperty("mqttSecondTopic", r.getString("second").replace("{key}", "k" + key));
        }
        return message;
    }

    private static void sendUntilStored(Cluster cluster, Collection<Message> batch, MessageQueue queue) {
        while (true) {
            try {
                if (cluster.producer.send(batch, queue, 5000).getSendStatus() == SendStatus.SEND_OK) {
                    return;
                }
            } catch (Exception e) {
                System.err.println("produce: again after " + e);
            }
            sleepUntil(System.nanoTime() + 100_000_000L);
        }
    }

    private static void sleepUntil(long nanos) {
        try {
            TimeUnit.NANOSECONDS.sleep(nanos - System.nanoTime());
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Reads every queue of a topic from the offsets in `from`, at most `max` messages of each. */
    private static JSONObject read(JSONObject r) throws Exception {
        Cluster cluster = cluster(r);
        JSONObject from = r.getJSONObject("from");
        JSONObject next = new JSONObject();
        JSONArray messages = new JSONArray();
        JSONArray unreachable = new JSONArray();
        Set<MessageQueue> queues = cluster.reader.fetchSubscribeMessageQueues(r.getString("topic"));
        for (MessageQueue queue : queues) {
            String name = queue.getBrokerName() + "/" + queue.getQueueId();
            long start = from.getLongValue(name);
            next.put(name, start);
            try {
                next.put(name, readQueue(cluster, queue, start, r.getIntValue("max"), messages));
            } catch (Exception e) {
                unreachable.add(name + ": " + e);
            }
        }
        JSONObject answer = new JSONObject();
        answer.put("messages", messages);
        answer.put("next", next);
        answer.put("unreachable", unreachable);
        return answer;
    }

    /** How many messages all queues of a topic hold. */
    private static JSONObject stored(JSONObject r) throws Exception {
        DefaultMQPullConsumer reader = cluster(r).reader;
        long stored = 0;
        for (MessageQueue queue : reader.fetchSubscribeMessageQueues(r.getString("topic"))) {
            stored += reader.maxOffset(queue) - reader.minOffset(queue);
        }
        return count(stored);
    }

    private static long readQueue(Cluster c, MessageQueue queue, long start, int max, JSONArray into) throws Exception {
        long offset = start;
        while (offset - start < max) {
            PullResult result = c.reader.pull(queue, "*", offset, 32, 5000);
            if (result.getPullStatus() == PullStatus.FOUND) {
                for (MessageExt message : result.getMsgFoundList()) {
                    into.add(describe(message));
                }
            } else if (result.getPullStatus() == PullStatus.NO_NEW_MSG || result.getNextBeginOffset() <= offset) {
                break;
            }
            offset = result.getNextBeginOffset();
        }
        return offset;
    }

    private static JSONObject describe(MessageExt message) {
        JSONObject told = new JSONObject();
        told.put("topic", message.getTopic());
        told.put("broker", message.getBrokerName());
        told.put("queue", message.getQueueId());
        told.put("offset", message.getQueueOffset());
        told.put("tag", message.getTags());
        told.put("keys", message.getKeys());
        told.put("properties", message.getProperties());
        byte[] body = message.getBody();
        told.put("body", Base64.getEncoder().encodeToString(body == null ? new byte[0] : body));
        return told;
    }

    /** The offsets that a group has committed, by queue, and how far they are behind. */
    private static JSONObject committed(JSONObject r) throws Exception {
        JSONObject offsets = new JSONObject();
        long[] behind = {0};
        cluster(r).admin.examineConsumeStats(r.getString("group"), r.getString("topic")).getOffsetTable()
            .forEach((queue, at) -> {
                offsets.put(queue.getBrokerName() + "/" + queue.getQueueId(), at.getConsumerOffset());
                behind[0] += at.getBrokerOffset() - at.getConsumerOffset();
            });
        JSONObject answer = new JSONObject();
        answer.put("offsets", offsets);
        answer.put("behind", behind[0]);
        return answer;
    }

    /** Starts a consumer of a group; each message it takes becomes a line with this request's number as `job`. */
    private static JSONObject consume(JSONObject r) throws Exception {
        long job = r.getLongValue("id");
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(
            r.getString("group"), hook(r), new AllocateMessageQueueAveragely());
        consumer.setNamesrvAddr(r.getString("servers"));
        consumer.setInstanceName("judge-consumer-" + job);
        consumer.setUseTLS(r.getBooleanValue("tls"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // Else a message whose listener has not returned yet is not committed at the end.
        consumer.setAwaitTerminationMillisWhenShutdown(10_000);
        consumer.subscribe(r.getString("topic"), r.containsKey("tags") ? r.getString("tags") : "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            for (MessageExt message : messages) {
                JSONObject line = describe(message);
                line.put("job", job);
                say(line);
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        CONSUMERS.put(job, consumer);
        JSONObject answer = new JSONObject();
        answer.put("started", job);
        return answer;
    }

    private static JSONObject stop(JSONObject r) {
        DefaultMQPushConsumer consumer = CONSUMERS.remove(r.getLong("job"));
        if (consumer != null) {
            consumer.shutdown();
        }
        return new JSONObject();
    }

    private static final Object ADMIN = new Object();

    /** Runs a command of RocketMQ's own admin tool and gives back what it printed. */
    private static JSONObject admin(JSONObject r) throws Exception {
        synchronized (ADMIN) {
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            System.setOut(new PrintStream(printed, true, "UTF-8"));
            try {
                MQAdminStartup.main0(r.getJSONArray("args").toArray(new String[0]), hook(r));
            } finally {
                System.setOut(System.err);
            }
            JSONObject answer = new JSONObject();
            answer.put("printed", printed.toString("UTF-8"));
            return answer;
        }
    }
}
