#!/usr/bin/env bash
# Builds the images' programs twice with Docker, the second time from nothing and in another
# folder, and compares them. Exits 0 only if they are the same, byte for byte.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

images=(hello-reproducible:1 hello-reproducible:2)
trap 'docker image rm --force "${images[@]}" >/dev/null 2>&1' EXIT
export DOCKER_BUILDKIT=1
docker build --target build --tag "${images[0]}" .
docker build --target build --tag "${images[1]}" \
  --no-cache --build-arg CARGO_TARGET_DIR=/var/tmp/elsewhere .
sums() { docker run --rm --entrypoint sha256sum "$1" /out/hello-server /out/hello-client /out/netpol; }
first=$(sums "${images[0]}")
second=$(sums "${images[1]}")
printf '%s\n' "$first"
if [ "$first" = "$second" ]; then
  echo "reproducible: both builds made the same programs"
else
  printf 'check-reproducible: the second build made others:\n%s\n' "$second" >&2
  exit 1
fi
