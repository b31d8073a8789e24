#!/usr/bin/env bash
# Builds the three images with Docker, each tagged with the version that the manifests name.
# Further arguments go to `docker build`: --platform, --build-context, --no-cache …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
for image in hello-server hello-client netpol; do
  DOCKER_BUILDKIT=1 docker build "$@" --build-arg "REVISION=$revision" \
    --target "$image" --tag "$image:$version" .
done
docker image ls --format '{{.Repository}}:{{.Tag}}  {{.Size}}' |
  grep -E "^(hello-server|hello-client|netpol):$version "
