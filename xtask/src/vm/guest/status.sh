#!/bin/busybox sh
# What the agent ($1) says of itself after some collections.
"$1" --interval 1 --cri-socket none 2>/tmp/agent.log &
agent=$!
tries=0
until wget -q -O /tmp/status http://127.0.0.1:9435/status 2>/dev/null && grep -q '"collections": [2-9]' /tmp/status; do
    tries=$((tries + 1))
    if [ $tries -gt 120 ] || ! kill -0 $agent; then
        cat /tmp/agent.log
        exit 1
    fi
    sleep 1
done
cat /tmp/status
kill $agent
wait $agent
