# What the benchmarks share: the programs, built once; servers that end with the script; figures.
# shellcheck shell=bash

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
built=$repository/target/bench
work=$(mktemp -d)
started=()
trap 'end_all; rm -rf "$work"' EXIT

end_all() {
  # Only what was started here, by number.
  if [ ${#started[@]} -gt 0 ]; then
    kill "${started[@]}" 2>/dev/null || true
    wait "${started[@]}" 2>/dev/null || true
  fi
  started=()
}

need() { # need COMMAND PACKAGE
  command -v "$1" >/dev/null || { echo "$1 is missing: install ${2:-$1}" >&2; exit 1; }
}

# The workloads as their images have them: one static program each, of the profile `image`.
build_workloads() {
  local target
  target=$(uname -m)-unknown-linux-gnu
  (cd "$repository" && RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
    cargo build --quiet --locked --profile image --target "$target" --target-dir "$built" \
    -p hello-server -p hello-client)
  hello_server=$built/$target/image/hello-server
  # shellcheck disable=SC2034 # client.sh has use for it
  hello_client=$built/$target/image/hello-client
}

build_hello_app() {
  need go golang
  hello_app=$built/hello-app
  (cd "$repository/bench/hello-app" && go build -o "$hello_app" .)
}

# A port that nobody has now.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

wait_for_port() {
  local tries=0
  until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 500 ] || { echo "nobody listens on port $1" >&2; exit 1; }
    sleep 0.01
  done
}

# start NAME PORT LOG: a server; its log goes to nobody (off) or through a pipe (on), as a container
# runtime's does. Sets pid.
start() {
  local name=$1 port=$2 log=$3 out=/dev/null
  if [ "$log" = on ]; then
    mkfifo "$work/log-$port"
    cat "$work/log-$port" >/dev/null &
    out=$work/log-$port
  fi
  case $name in
    hello-server)
      local access=false
      [ "$log" = on ] && access=true
      "$hello_server" --host 127.0.0.1 --port "$port" --access-log $access --drain-delay 0 >"$out" 2>&1 &
      ;;
    hello-app)
      if [ "$log" = discarded ]; then export LOG=off; else unset LOG; fi
      PORT=$port "$hello_app" >"$out" 2>&1 &
      ;;
    nginx)
      mkdir -p "$work/nginx-$port"
      sed "s#@PORT@#$port#; s#@FOLDER@#$work/nginx-$port#g" "$repository/bench/nginx.conf" >"$work/nginx-$port/conf"
      nginx -c "$work/nginx-$port/conf" -p "$work/nginx-$port" >/dev/null 2>&1 &
      ;;
  esac
  pid=$!
  started+=("$pid")
  wait_for_port "$port"
}

median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

# ratio ONE OTHER: how many times the other one is.
ratio() { awk -v one="$1" -v other="$2" 'BEGIN { printf "%.2f", one / other }'; }

# Kilobytes of memory that a process has.
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

megabytes() { awk -v kilobytes="$1" 'BEGIN { printf "%.1f", kilobytes / 1024 }'; }

milliseconds_since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", (to - from) * 1000 }'; }
