#!/usr/bin/env bash
# hello-server beside nginx and hello-app: requests a second, latency, memory, start and stop.
# All of it on loopback, bounded, and in one go: ratios are what it is for.
# ROUNDS (3) and SECONDS_EACH (5) may be set.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
need wrk
need nginx nginx-light
build_workloads
build_hello_app
vegeta=$built/vegeta
[ -x "$vegeta" ] || GOBIN=$built go install github.com/tsenart/vegeta/v12@v12.12.0

requests_per_second() {
  wrk -t2 -c64 "-d${seconds}s" "http://127.0.0.1:$1/" | awk '/^Requests\/sec/ { print int($2) }'
}

# The servers take turns in each round, so that what else the machine does meets all of them.
compete() { # compete NAME:LOG…
  local contender port
  declare -gA rate=()
  declare -A ports=()
  for contender in "$@"; do
    port=$(free_port)
    start "${contender%:*}" "$port" "${contender#*:}"
    ports[$contender]=$port
    : >"$work/$contender"
  done
  for _ in $(seq "$rounds"); do
    for contender in "$@"; do
      requests_per_second "${ports[$contender]}" >>"$work/$contender"
    done
  done
  for contender in "$@"; do
    rate[$contender]=$(median <"$work/$contender")
  done
  end_all
}

echo "## Requests a second (64 connections kept alive, median of $rounds runs of $seconds s)"
echo
compete hello-server:off nginx:off hello-app:off hello-app:discarded
echo "| access log off | requests/s | hello-server has times as many |"
echo "|---|---|---|"
for other in hello-server:off nginx:off hello-app:off hello-app:discarded; do
  echo "| ${other/:off/} | ${rate[$other]} | $(ratio "${rate[hello-server:off]}" "${rate[$other]}") |"
done
slower=${rate[hello-app:off]}
[ "$slower" -le "${rate[nginx:off]}" ] || slower=${rate[nginx:off]}
echo
compete hello-server:on hello-app:on
echo "| access log on, to a pipe | requests/s | hello-server has times as many |"
echo "|---|---|---|"
for other in hello-server:on hello-app:on; do
  echo "| ${other/:on/} | ${rate[$other]} | $(ratio "${rate[hello-server:on]}" "${rate[$other]}") |"
done

half=$((slower / 2))
echo
echo "## Latency at $half requests a second, half of what the slower peer can (median of $rounds runs)"
echo
echo "| | p50 ms | p99 ms |"
echo "|---|---|---|"
contenders=(hello-server nginx hello-app)
declare -A ports=()
for name in "${contenders[@]}"; do
  ports[$name]=$(free_port)
  start "$name" "${ports[$name]}" off
done
for _ in $(seq "$rounds"); do
  for name in "${contenders[@]}"; do
    echo "GET http://127.0.0.1:${ports[$name]}/" |
      "$vegeta" attack -rate="$half" -duration="${seconds}s" -connections 64 -workers 64 -max-workers 64 |
      "$vegeta" report -type=json >"$work/report"
    sed 's/.*"50th":\([0-9]*\).*/\1/' "$work/report" >>"$work/$name.p50"
    sed 's/.*"99th":\([0-9]*\).*/\1/' "$work/report" >>"$work/$name.p99"
  done
done
for name in "${contenders[@]}"; do
  awk -v name="$name" -v p50="$(median <"$work/$name.p50")" -v p99="$(median <"$work/$name.p99")" \
    'BEGIN { printf "| %s | %.2f | %.2f |\n", name, p50 / 1e6, p99 / 1e6 }'
done
end_all

# nginx's memory is its workers' too.
tree() { local sum=0 each; for each in "$1" $(pgrep -P "$1"); do sum=$((sum + $(memory "$each"))); done; echo "$sum"; }

echo
echo "## Memory (MB resident)"
echo
echo "| | idle | after 1,000,000 requests | after 2,000,000 | with 10,000 idle connections, each of use once |"
echo "|---|---|---|---|---|"
ulimit -n "$(ulimit -H -n)"
for name in "${contenders[@]}"; do
  port=$(free_port)
  start "$name" "$port" off
  idle=$(tree "$pid")
  figures=()
  for _ in 1 2; do
    done=0
    while [ $done -lt 1000000 ]; do
      done=$((done + $(wrk -t2 -c64 -d2s "http://127.0.0.1:$port/" | awk '/requests in/ { print $1 }')))
    done
    figures+=("$(tree "$pid")")
  done
  connections=()
  for _ in $(seq 10000); do
    exec {connection}<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' >&"$connection"
    IFS= read -r _ <&"$connection"
    connections+=("$connection")
  done
  many=$(tree "$pid")
  for connection in "${connections[@]}"; do exec {connection}>&-; done
  echo "| $name | $(megabytes "$idle") | $(megabytes "${figures[0]}") | $(megabytes "${figures[1]}") | $(megabytes "$many") |"
  end_all
done

echo
echo "## Start and stop (ms, median of 9; --drain-delay 0)"
echo
first=$work/first stop=$work/stop
for _ in $(seq 9); do
  port=$(free_port)
  from=$EPOCHREALTIME
  "$hello_server" --host 127.0.0.1 --port "$port" --access-log false --drain-delay 0 >/dev/null &
  pid=$!
  started+=("$pid")
  until { exec {connection}<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; do :; done
  printf 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >&"$connection"
  IFS= read -r _ <&"$connection"
  milliseconds_since "$from" >>"$first"
  echo >>"$first"
  exec {connection}>&-
  from=$EPOCHREALTIME
  kill "$pid"
  wait "$pid"
  milliseconds_since "$from" >>"$stop"
  echo >>"$stop"
  started=()
done
echo "| start to first answer | SIGTERM to exit |"
echo "|---|---|"
echo "| $(median <"$first") | $(median <"$stop") |"
