#!/bin/sh
# Makes the topics of the sample mappings, as soon as the broker takes them.
set -eu
for topic in plant alarms cmd; do
    until sh mqadmin updateTopic -n "$NAMESRV_ADDR" -c sample -t "$topic" -r 4 -w 4 2>/dev/null | grep success; do
        sleep 1
    done
done
