#!/usr/bin/env bash
# Enables the APIs that the demo needs, and writes terraform/terraform.tfvars from gcloud's
# configuration. Run again, it changes nothing, and a file that is there stays as it is.
set -euo pipefail
# shellcheck source=scripts/gke/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require gcloud
require_account

# setting SECTION/NAME EXAMPLE: a value of gcloud's configuration.
setting() {
  local value
  value=$(gcloud config get-value "$1" 2>/dev/null) || true
  [ -n "$value" ] && [ "$value" != "(unset)" ] ||
    fail "gcloud's configuration has no $1; set it: gcloud config set $1 $2"
  printf '%s' "$value"
}

project=$(setting project my-project-name)
region=$(setting compute/region us-east1)
zone=$(setting compute/zone "$region-c")
[[ $zone == "$region"-[a-z] ]] ||
  fail "the zone $zone is not in the region $region; set one that is: gcloud config set compute/zone $region-c"

say "Enabling the APIs that the demo needs in $project"
run gcloud services enable --project="$project" \
  compute.googleapis.com container.googleapis.com cloudbuild.googleapis.com \
  artifactregistry.googleapis.com iap.googleapis.com

tfvars=terraform/terraform.tfvars
if [ -e "$tfvars" ]; then
  say "$tfvars is there and stays as it is"
else
  say "Writing $tfvars"
  new=$(mktemp terraform/.tfvars.XXXXXX)
  printf 'project="%s"\nregion="%s"\nzone="%s"\n' "$project" "$region" "$zone" >"$new"
  mv "$new" "$tfvars"
fi
cat "$tfvars"
