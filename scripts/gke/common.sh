# Sourced by the scripts beside it: what they share.
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

# How often something that another machine prepares is asked for, and how long in all.
POLL=${POLL:-5}
WAIT=${WAIT:-300}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

say() { printf '\n## %s\n' "$*"; }

# Shows a command as typed, and runs it; its failure is the script's.
run() {
  printf '$ %s\n' "$*"
  "$@"
}

# require TOOL…
require() { scripts/require-tools.sh "$@" || exit 1; }

# An account is logged in, or the script ends.
require_account() {
  local account
  account=$(gcloud auth list --filter=status:ACTIVE --format='value(account)') || fail "gcloud fails; see above"
  [ -n "$account" ] || fail "nobody is logged in to gcloud; run: gcloud auth login && gcloud auth application-default login"
}

# output NAME: a value that Terraform knows of what it made.
output() {
  terraform -chdir=terraform output -raw "$1" 2>/dev/null ||
    fail "Terraform has made nothing yet (no output $1); run: make tf-apply"
}

# until_it_works WHAT COMMAND…: tries again until it works, and says what it waits for. Only the last
# try's words are shown.
until_it_works() {
  local what=$1 deadline=$((SECONDS + WAIT)) said
  shift
  printf 'waiting for %s, at most %s s' "$what" "$WAIT"
  while ! said=$("$@" 2>&1); do
    if [ "$SECONDS" -ge "$deadline" ]; then
      printf '\n%s\n' "$said" >&2
      fail "$what: not within $WAIT s"
    fi
    printf '.'
    sleep "$POLL"
  done
  printf ' there\n'
}

# on_bastion COMMAND: runs a command line there, through the Identity-Aware Proxy.
on_bastion() {
  gcloud compute ssh "$bastion" --project="$project" --zone="$zone" --tunnel-through-iap --quiet \
    --command="$1"
}

# Reads where the bastion is.
find_bastion() {
  bastion=$(output bastion)
  project=$(output project)
  zone=$(output zone)
}

# The tag of the images: TAG, or the commit. A tag never moves, so a commit's must be of the commit.
image_tag() {
  [ -z "${TAG:-}" ] || { printf '%s' "$TAG"; return; }
  git diff --quiet HEAD -- || fail "there are changes that no commit has; commit them, or name a TAG=… for them"
  git rev-parse --short=12 HEAD
}
