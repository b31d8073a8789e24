#!/usr/bin/env bash
# Deletes the demo from the cluster if it can be reached, and then destroys the cluster whatever
# came of that.
set -euo pipefail
# shellcheck source=scripts/gke/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require gcloud terraform

clean_up() {
  find_bastion
  on_bastion 'kubectl delete --ignore-not-found --timeout=60s namespace/hello-apps networkpolicy/hello-server-allow-from-hello-client &&
    kubectl delete --ignore-not-found --timeout=60s deployment/hello-server deployment/hello-client-allowed deployment/hello-client-blocked service/hello-server'
}
say "Deleting the demo from the cluster"
(clean_up) || echo "that could not be done; the cluster goes all the same"

say "Destroying the cluster"
exec scripts/gke/tf-destroy.sh "$@"
