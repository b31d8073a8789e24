#!/usr/bin/env bash
# Writes the manifests with other image references, under the same file names:
#
#   scripts/render-manifests.sh FOLDER hello-server=REFERENCE hello-client=REFERENCE
#
# A REFERENCE has a tag or a digest: REGISTRY/hello-server:1.0.0, REGISTRY/hello-server@sha256:…
# The manifests in the repository stay as they are. Nothing is written unless every image that
# they name has a reference.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  printf 'render-manifests: %s\n' "$*" >&2
  exit 2
}

[ $# -ge 2 ] || fail "usage: scripts/render-manifests.sh FOLDER IMAGE=REFERENCE…"
folder=$1
[[ $folder == /* ]] || folder=$called_from/$folder
shift
[ ! -e "$folder" ] || [ -d "$folder" ] || fail "$folder is not a folder"
[ ! "$folder" -ef manifests ] || fail "$folder holds the manifests themselves; choose another folder"

declare -A reference
for pair in "$@"; do
  [[ $pair =~ ^([a-z0-9-]+)=([a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64}))$ ]] ||
    fail "$pair: expected IMAGE=REFERENCE, with a tag or a digest"
  reference[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
done

rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
while IFS= read -r file; do
  mkdir -p "$rendered/$(dirname "$file")"
  while IFS= read -r line; do
    if [[ $line =~ ^(\ *(-\ )?image:\ )([a-z0-9-]+):[^\ ]+$ ]]; then
      image=${BASH_REMATCH[3]}
      [ -n "${reference[$image]:-}" ] || fail "manifests/$file names the image $image; give $image=REFERENCE"
      line=${BASH_REMATCH[1]}${reference[$image]}
    fi
    printf '%s\n' "$line"
  done <"manifests/$file" >"$rendered/$file"
done < <(cd manifests && find . -name '*.yaml' -printf '%P\n' | sort)

mkdir -p "$folder"
cp -R "$rendered/." "$folder/"
printf 'manifests for %s are in %s\n' "${reference[*]}" "$folder"
