#!/usr/bin/env bash
# Makes the network, the cluster and the bastion; asks before it does. Arguments go to
# `terraform apply`.
set -euo pipefail
# shellcheck source=scripts/gke/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require terraform
[ -e terraform/terraform.tfvars ] || fail "terraform/terraform.tfvars is not there; run: make setup-project"

run terraform -chdir=terraform init -input=false
run terraform -chdir=terraform apply "$@"
