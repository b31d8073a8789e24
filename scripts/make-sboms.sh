#!/usr/bin/env bash
# Writes a software bill of materials (CycloneDX, JSON) for the program in each image to
# target/sbom/. Needs cargo-cyclonedx: cargo install --locked cargo-cyclonedx
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/require-tools.sh cargo cargo-cyclonedx

mkdir -p target/sbom
for image in hello-server hello-client netpol; do
  cargo cyclonedx --quiet --manifest-path "$image/Cargo.toml" --format json --describe binaries \
    --no-build-deps --target "$(uname -m)-unknown-linux-gnu"
done
# It writes beside every manifest of the workspace.
for image in hello-server hello-client netpol; do
  mv "$image/${image}_bin.cdx.json" "target/sbom/$image.cdx.json"
  # Each names its components with version and licence, or it is of no use.
  printf '%s: %s components\n' "target/sbom/$image.cdx.json" \
    "$(grep -c '"purl": "pkg:cargo/' "target/sbom/$image.cdx.json")"
done
find . -path ./target -prune -o -name '*.cdx.json' -exec rm -f {} +
