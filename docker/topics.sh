#!/bin/bash
# Makes the topics of the sample mappings, as soon as the broker takes them.
set -eu
# Without Java: a tool that is started again and again would only slow down the broker's own start.
until (exec 3<>/dev/tcp/broker/10911) 2>/dev/null; do sleep 1; done
for topic in plant alarms cmd; do
    until said="$(sh mqadmin updateTopic -b broker:10911 -t "$topic" -r 4 -w 4 2>&1)" && [[ "$said" == *success* ]]; do
        printf 'topic %s, again: %s\n' "$topic" "$said"
        sleep 1
    done
    echo "made the topic $topic"
done
