#!/usr/bin/env bash
# What a lab takes of memory, in MB, by program: before it has a pod, and with the demo and its policy.
set -euo pipefail
cd "$(dirname "$0")/../.."
lab=target/release/hello-lab
out=$(mktemp)
"$lab" up --name memory >"$out" &
keeper=$!
trap 'kill -INT "$keeper" 2>/dev/null; wait "$keeper"; rm -f "$out"' EXIT

tree() {
    echo "$1"
    for child in $(pgrep -P "$1"); do tree "$child"; done
}

measure() {
    # Sandboxes are made ahead; until all are there is nothing else to wait for.
    sleep 5
    echo "$1"
    for process in $(tree "$keeper"); do
        name=$(tr '\0' ' ' <"/proc/$process/cmdline" | cut -d ' ' -f 1,2)
        awk -v name="$name" '/^Rss/ { rss = $2 } /^Pss:/ { print name "|" rss "|" $2 }' "/proc/$process/smaps_rollup"
    done | awk -F '|' '
        { count[$1]++; rss[$1] += $2; pss[$1] += $3; all += $3 }
        END {
            for (name in count)
                printf "  %2d %-45s Rss %6.1f  Pss %5.1f\n", count[name], name, rss[name] / 1024, pss[name] / 1024
            printf "  all: Pss %.1f MB\n", all / 1024
        }'
}

until grep -q KUBECONFIG "$out"; do sleep 0.1; done
KUBECONFIG=$(sed -n 's/.*export KUBECONFIG=//p' "$out")
export KUBECONFIG
measure 'no pod:'
kubectl apply -f manifests/hello-app/ -f manifests/network-policy.yaml >/dev/null
kubectl wait --for=condition=Available deployment --all >/dev/null
measure 'the demo and its policy:'
