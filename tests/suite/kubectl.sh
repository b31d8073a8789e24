#!/usr/bin/env bash
# Builds kubectl of a version from its Go module, and prints the folder that it is in:
#   PATH=$(tests/suite/kubectl.sh 1.35.1):$PATH kubectl version --client
# A minute or two the first time.
set -euo pipefail
version=${1:?a version of kubectl, such as 1.35.1}
# Where the tests' ordinary user finds it too.
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/kubectl-$version
module=v0.${version#1.}
if [ ! -x "$folder/kubectl" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cat >"$work/main.go" <<'GO'
package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
GO
  stamp=k8s.io/component-base/version
  minor=${version#*.}
  {
    cd "$work"
    export GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0
    go mod init kubectl-for-tests
    go get "k8s.io/kubectl@$module" "k8s.io/component-base@$module"
    go mod tidy
    go build -trimpath -o kubectl -ldflags \
      "-s -w -X $stamp.gitVersion=v$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}" .
    mkdir -p "$folder"
    mv kubectl "$folder/"
  } >&2
fi
echo "$folder"
