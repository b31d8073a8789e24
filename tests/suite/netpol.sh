#!/usr/bin/env bash
# Runs Kubernetes' own end-to-end tests of NetworkPolicy, unchanged and by their own program, on a lab:
#   tests/suite/netpol.sh [OPTION OF hello-lab run]… [-- OPTION OF THE TESTS…]
# It needs, both built from Kubernetes' Go module (k8s.io/kubernetes):
#   NETPOL_E2E   test/e2e/network/netpol, compiled by `go test -c` with a TestMain that reads a kubeconfig
#   AGNHOST      test/images/agnhost, the program that their pods run
# AGNHOST_IMAGE is what the tests call that program, which depends on their version.
# AS=nobody runs it all as an ordinary user; only root can do that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${NETPOL_E2E:?is the compiled tests}" "${AGNHOST:?is the program that their pods run}"

# shellcheck source=tests/suite/lab.sh
. tests/suite/lab.sh

# Where an ordinary user can read them, too.
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
install -m 755 "$NETPOL_E2E" "$home/netpol.test"
install -m 755 "$AGNHOST" "$home/agnhost"
as_user "$home"

skip=()
if [ "$(id -u)" = 0 ] && modprobe --quiet sctp 2>/dev/null || [ -d /proc/net/sctp ]; then
  echo "this kernel has SCTP: all 50 specs"
else
  echo "this kernel has no SCTP: without the 3 specs that need it"
  skip=(-ginkgo.skip SCTPConnectivity)
fi
# shellcheck disable=SC2016 # for the shell within the lab
HOME=$home XDG_RUNTIME_DIR=$home TMPDIR=$home "${as[@]}" target/release/hello-lab run "${lab[@]}" \
  --image "${AGNHOST_IMAGE:-registry.k8s.io/e2e-test-images/agnhost:2.56}=$home/agnhost" -- \
  sh -c 'cd "$HOME" && exec ./netpol.test --kubeconfig "$KUBECONFIG" --provider=skeleton \
    --kube-api-content-type=application/json -ginkgo.no-color "$@"' netpol.test "${skip[@]}" "$@"
