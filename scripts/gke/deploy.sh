#!/usr/bin/env bash
# Copies manifests that name the registry's images, and validate.sh, to the bastion through the
# Identity-Aware Proxy: the tutorial's commands work there as they are written.
set -euo pipefail
# shellcheck source=scripts/gke/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require gcloud terraform
require_account
find_bastion
registry=$(output registry)

TAG=$(image_tag)
# By digest, so that what runs is what was built.
digest() {
  gcloud artifacts docker images describe "$registry/$1:$TAG" --project="$project" \
    --format='value(image_summary.digest)' ||
    fail "$registry has no image $1:$TAG; run: make cloud-build"
}
server=$(digest hello-server)
client=$(digest hello-client)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
scripts/render-manifests.sh "$folder/manifests" \
  "hello-server=$registry/hello-server@$server" "hello-client=$registry/hello-client@$client"
mkdir "$folder/scripts"
cp scripts/validate.sh "$folder/scripts/"

say "Copying manifests and scripts to $bastion"
# A new bastion takes a while to answer, and then to install kubectl.
until_it_works "$bastion to have kubectl" on_bastion 'test -e /etc/gke-demo/ready'
run gcloud compute scp --recurse "$folder/manifests" "$folder/scripts" "$bastion:" \
  --project="$project" --zone="$zone" --tunnel-through-iap --quiet
cat <<EOF

Log in to the bastion and follow the tutorial:

    gcloud compute ssh $bastion --project=$project --zone=$zone --tunnel-through-iap
    kubectl apply -f ./manifests/hello-app/
EOF
