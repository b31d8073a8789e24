#!/usr/bin/env bash
# Builds what tests/suite/conformance.sh needs, and prints where it is:
#   eval "$(tests/suite/conformance-build.sh FOLDER)"
# FOLDER has a go.mod and a go.sum that require k8s.io/kubernetes, with its replacements. Five minutes the first time.
set -euo pipefail
modules=$(cd "$1" && pwd)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/conformance" && pwd)
out=${XDG_CACHE_HOME:-$HOME/.cache}/conformance
mkdir -p "$out/agnhost-source"
export GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0
# Go's cache knows what is to be done.
install -m 644 "$modules/go.mod" "$modules/go.sum" "$here/conformance_test.go" "$out/"
cd "$out"
go mod download k8s.io/kubernetes >&2
source=$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)
install -m 644 "$source/test/images/agnhost/agnhost.go" "$out/agnhost-source/"
install -m 644 "$here/cmd.go.txt" "$out/agnhost-source/cmd.go"
go test -c -o conformance.test . >&2
go build -ldflags '-s -w' -o agnhost ./agnhost-source >&2
go build -ldflags '-s -w' -o nnp k8s.io/kubernetes/test/images/nonewprivs >&2
echo "export CONFORMANCE_E2E='$out/conformance.test' AGNHOST='$out/agnhost' NONEWPRIVS='$out/nnp'"
