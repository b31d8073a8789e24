#!/usr/bin/env bash
# require-tools.sh TOOL…: says in one line each which of the tools is missing and how to get
# it; exits 1 if one is.
set -euo pipefail

missing=0
for tool in "$@"; do
  case $tool in
    cargo)
      remedy="Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml") or newer: https://rustup.rs"
      ;;
    cc) remedy="a C compiler and linker: apt install gcc libc6-dev, or dnf install gcc" ;;
    cargo-cyclonedx) remedy="it with: cargo install --locked cargo-cyclonedx" ;;
    gcloud) remedy="the Google Cloud CLI: https://cloud.google.com/sdk/docs/install" ;;
    terraform) remedy="Terraform 1.9 or newer: https://developer.hashicorp.com/terraform/install" ;;
    docker) remedy="Docker with Compose and Buildx: https://docs.docker.com/engine/install/" ;;
    kubectl) remedy="kubectl 1.29 or newer: https://kubernetes.io/docs/tasks/tools/" ;;
    *) remedy="see README.md" ;;
  esac
  command -v "$tool" >/dev/null && continue
  printf '%s is missing; get %s\n' "$tool" "$remedy" >&2
  missing=1
done
exit "$missing"
