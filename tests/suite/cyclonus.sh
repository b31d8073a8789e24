#!/usr/bin/env bash
# Runs cyclonus (github.com/mattfenwick/cyclonus), a fuzzer of network plugins with some 230 cases, unchanged
# and by its own program, on a lab:
#   tests/suite/cyclonus.sh [OPTION OF hello-lab run]… [-- OPTION OF cyclonus generate…]
# It needs Go, with which it builds cyclonus from its module, and
#   AGNHOST      test/images/agnhost of k8s.io/kubernetes, the program that its pods run
# It ends with 0 where every case passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${AGNHOST:?is the program that the pods run}"
version=v0.5.6

# shellcheck source=tests/suite/lab.sh
. tests/suite/lab.sh
[ $# -gt 0 ] || set -- --server-protocol TCP,UDP --exclude sctp

folder=${XDG_CACHE_HOME:-$HOME/.cache}/hello-network-policy/cyclonus-$version
[ -x "$folder/cyclonus" ] ||
  GOBIN=$folder GOFLAGS=-mod=mod CGO_ENABLED=0 go install "github.com/mattfenwick/cyclonus/cmd/cyclonus@$version" >&2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# What a pod is to itself differs from network plugin to network plugin; here it always reaches itself.
target/release/hello-lab run "${lab[@]}" --image "registry.k8s.io/e2e-test-images/agnhost=$AGNHOST" -- \
  "$folder/cyclonus" generate --ignore-loopback --cleanup-namespaces "$@" 2>&1 | tee "$log"
# It counts what went wrong, and ends with 0 all the same.
! grep -q '❌' "$log" && grep -q '✅' "$log"
