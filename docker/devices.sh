#!/bin/sh
# Machines of a plant that tell their temperature and obey the back end's commands, over plain MQTT.
set -u
: "${BROKER:=mosquitto}"

# One machine: $1 is its line, $2 its name.
device() {
    fan="/tmp/fan-$2"
    echo off >"$fan"
    mosquitto_sub -h "$BROKER" -i "GID_plant@@@$2" -c -q 1 -t "cmd/$1/$2/#" -F '%t %p' | while read -r topic command; do
        echo "$2 receives    $topic  $command"
        echo "${command#fan }" >"$fan"
    done &
    tenths=215
    while :; do
        if [ "$(cat "$fan")" = on ]; then tenths=$((tenths - 15)); else tenths=$((tenths + 9)); fi
        reading="$((tenths / 10)).$((tenths % 10))"
        if mosquitto_pub -h "$BROKER" -q 1 -t "plant/$1/$2/up/temp" -m "$reading"; then
            echo "$2 publishes   plant/$1/$2/up/temp  $reading"
        fi
        sleep 2
    done
}

trap 'kill 0' INT TERM
device a m1 &
device a m2 &
device b m7 &
wait
