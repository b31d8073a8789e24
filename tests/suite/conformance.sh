#!/usr/bin/env bash
# Runs Kubernetes' [Conformance] specs, unchanged and by their own program, on a lab, each in a process of its own:
#   tests/suite/conformance.sh [OPTION OF hello-lab run]… [-- NAME OR PART OF A NAME…]
# Without names: every spec that the table of docs/conformance.md does not leave out. A file's lines as names:
#   tests/suite/conformance.sh -- "$(cat tests/suite/conformance-short.txt)"
# It needs what tests/suite/conformance-build.sh makes of Kubernetes' Go module (k8s.io/kubernetes):
#   CONFORMANCE_E2E  test/e2e/{apimachinery,apps,auth,common,kubectl,network,node}, compiled
#   AGNHOST          test/images/agnhost, the program that their pods run; without arguments it pauses
#   NONEWPRIVS       test/images/nonewprivs, which one spec runs
# and the machine's dig and nc. AGNHOST_IMAGE is what the specs call that program, which depends on their version.
# AS=nobody runs it all as an ordinary user; only root can do that. AT_ONCE (6) specs run side by side, but for those
# that are [Serial], each for at most LONGEST (300) seconds. LOGS is where what each has written is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${CONFORMANCE_E2E:?is the compiled specs}" "${AGNHOST:?is the program that their pods run}"

# shellcheck source=tests/suite/lab.sh
. tests/suite/lab.sh

# Where an ordinary user can read them, too.
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
install -m 755 "$CONFORMANCE_E2E" "$home/conformance.test"
install -m 755 "$AGNHOST" "$home/agnhost"
if [ -n "${NONEWPRIVS:-}" ]; then
  install -m 755 "$NONEWPRIVS" "$home/nnp"
  lab+=(--image "${NONEWPRIVS_IMAGE:-registry.k8s.io/e2e-test-images/nonewprivs:1.3}=$home/nnp")
fi
as_user "$home"
logs=${LOGS:-$home/logs}
mkdir -p "$logs"
[ -z "${AS:-}" ] || chown "$AS" "$logs"

# The labels of a spec come after its name, in brackets and with commas, which no name has.
"$home/conformance.test" --provider=skeleton -ginkgo.dry-run -ginkgo.v -ginkgo.no-color \
  -ginkgo.focus '\[Conformance\]' 2>/dev/null | grep -F '[Conformance]' | sed 's/ \[[^]]*, [^]]*\]$//' |
  sort >"$home/all"
if [ $# -gt 0 ]; then
  printf '%s\n' "$@" | grep -v '^$' >"$home/wanted"
  grep -F -f "$home/wanted" "$home/all" >"$home/specs"
else
  # The first column of the table, between its backticks.
  # shellcheck disable=SC2016 # no command
  sed -n 's/^| `\([^`]*\)` |.*/\1/p' docs/conformance.md >"$home/without"
  grep -v -F -f "$home/without" "$home/all" >"$home/specs"
fi
echo "$(wc -l <"$home/specs") of $(wc -l <"$home/all") specs"

one() {
  local name=$1 began=$SECONDS log focus verdict=passed
  log=$LOGS/$(printf '%s' "$name" | tr -c '[:alnum:]\n' _ | cut -c1-200)
  focus=$(printf '%s' "$name" | sed 's/[][\.*^$+?(){}|/]/\\&/g')
  timeout --signal=INT --kill-after=30 "$LONGEST" "$HOME/conformance.test" --kubeconfig "$KUBECONFIG" \
    --provider=skeleton --kube-api-content-type=application/json -ginkgo.no-color -ginkgo.grace-period=10s \
    -ginkgo.focus "$focus" >"$log" 2>&1 || verdict=failed
  # A name that matches nothing is no pass.
  grep -q '^Ran 1 of ' "$log" || verdict=failed
  printf '%s %s s  %s\n' "$verdict" "$((SECONDS - began))" "$name"
}
# shellcheck disable=SC2016 # for the shell that xargs starts
all() {
  grep -v -F '[Serial]' "$HOME/specs" | xargs -r -d '\n' -n 1 -P "$AT_ONCE" bash -c 'one "$1"' one
  grep -F '[Serial]' "$HOME/specs" | xargs -r -d '\n' -n 1 bash -c 'one "$1"' one
}
export -f one all

began=$SECONDS
HOME=$home XDG_RUNTIME_DIR=$home TMPDIR=$home LOGS=$logs AT_ONCE=${AT_ONCE:-6} LONGEST=${LONGEST:-300} "${as[@]}" \
  "${LAB:-target/release/hello-lab}" run "${lab[@]}" \
  --image "${AGNHOST_IMAGE:-registry.k8s.io/e2e-test-images/agnhost:2.56}=$home/agnhost" -- \
  bash -c all | tee "$home/verdicts"
failed=$(grep -c '^failed' "$home/verdicts" || true)
echo "$(grep -c '^passed' "$home/verdicts" || true) passed, $failed failed, in $((SECONDS - began)) s"
[ "$failed" = 0 ]
