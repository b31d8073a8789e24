#!/usr/bin/env bash
# Has Cloud Build test, build and push the images: TAG (default: the commit) names them.
set -euo pipefail
# shellcheck source=scripts/gke/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require gcloud terraform
require_account
project=$(output project)
region=$(output region)
registry=$(output registry)
bucket=$(output source_bucket)

TAG=$(image_tag)
# Tags never move: what is there is what this would build.
if gcloud artifacts docker images describe "$registry/netpol:$TAG" --project="$project" >/dev/null 2>&1; then
  say "$registry has the images with the tag $TAG already"
else
  say "Building the images with the tag $TAG"
  run gcloud builds submit --project="$project" --region="$region" --config=cloudbuild.yaml \
    --gcs-source-staging-dir="gs://$bucket/source" \
    --substitutions="_REGION=$region,_TAG=$TAG,_REVISION=$(git rev-parse HEAD)" .
fi
