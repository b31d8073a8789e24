#!/usr/bin/env bash
# hello-client beside the shell loop with BusyBox's wget that it stands in for: CPU and memory a poll.
# POLLS (10000) may be set; the loop is given a tenth of them.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

polls=${POLLS:-10000}
need busybox
build_workloads
port=$(free_port)
start hello-server "$port" off
url=http://127.0.0.1:$port

# CPU seconds, user and system, of what a command starts; times are of the shell's children.
TIMEFORMAT='%U %S'
cpu() { { time "$@" >/dev/null 2>&1; } 2>&1 | awk '{ print $1 + $2 }'; }

loop() { busybox sh -c "i=0; while [ \$i -lt $1 ]; do busybox wget -qO- --timeout=2 $url; i=\$((i + 1)); done"; }

ours=$(cpu "$hello_client" --interval 0 --count "$polls" "$url")
theirs=$(cpu loop $((polls / 10)))

"$hello_client" --interval 0 "$url" >/dev/null 2>&1 &
client=$!
started+=("$client")
# By the server's count, so that it is polls that are waited for and no time.
answered() {
  exec {connection}<>"/dev/tcp/127.0.0.1/$port"
  printf 'GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >&"$connection"
  awk '/^hello_server_http_requests_total.*GET.*200/ { print $2 }' <&"$connection"
  exec {connection}>&-
}
until_polls() { until [ "$(answered)" -ge "$1" ]; do sleep 0.05; done; }
from=$(answered)
figures=()
for number in 1 10 20; do
  until_polls $((from + number * polls / 10))
  figures+=("$(memory "$client")")
done

echo "| | CPU a poll, ms | times as much as hello-client |"
echo "|---|---|---|"
awk -v ours="$ours" -v theirs="$theirs" -v polls="$polls" 'BEGIN {
  ours = ours * 1000 / polls; theirs = theirs * 1000 / int(polls / 10)
  printf "| hello-client | %.3f | 1.00 |\n| sh and wget (BusyBox) | %.3f | %.2f |\n", ours, theirs, theirs / ours
}'
echo
echo "| hello-client's memory after | $((polls / 10)) polls | $polls | $((polls * 2)) |"
echo "|---|---|---|---|"
echo "| MB resident | $(megabytes "${figures[0]}") | $(megabytes "${figures[1]}") | $(megabytes "${figures[2]}") |"
