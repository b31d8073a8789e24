#!/usr/bin/env bash
# Destroys all that Terraform made; asks before it does. Arguments go to `terraform destroy`.
set -euo pipefail
# shellcheck source=scripts/gke/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require terraform

run terraform -chdir=terraform init -input=false
run terraform -chdir=terraform destroy "$@"
