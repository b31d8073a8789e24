#!/usr/bin/env bash
# Runs the tutorial, step by step, and checks each: on the bastion where Terraform has made one, else on
# the cluster that kubectl talks to.
set -euo pipefail
# shellcheck source=scripts/gke/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if command -v terraform >/dev/null && terraform -chdir=terraform output -raw bastion >/dev/null 2>&1; then
  require gcloud
  require_account
  find_bastion
  on_bastion 'test -x scripts/validate.sh' || fail "the bastion has no scripts/validate.sh; run: make deploy"
  on_bastion 'scripts/validate.sh'
else
  say "Terraform has made no bastion: on the cluster that kubectl talks to"
  exec scripts/validate.sh
fi
