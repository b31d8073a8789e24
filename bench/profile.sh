#!/usr/bin/env bash
# Where hello-server's time goes under load: by program and kernel, then by function.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need wrk
need perf linux-perf
export CARGO_PROFILE_IMAGE_STRIP=none
built=$repository/target/bench-profile
build_workloads
port=$(free_port)
start hello-server "$port" "${1:-off}"
wrk -t2 -c64 -d6s "http://127.0.0.1:$port/" >"$work/wrk" &
sleep 1
perf record --quiet --freq 999 --pid "$pid" --output "$work/perf" sleep 4
grep '^Requests/sec' "$work/wrk" || true
for by in dso dso,symbol; do
  perf report --input "$work/perf" --stdio --no-children --sort "$by" 2>/dev/null | grep -v '^#' | grep . | cut -c1-110 | head -n 25
  echo
done
