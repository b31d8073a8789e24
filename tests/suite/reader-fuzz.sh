#!/usr/bin/env bash
# Random odd documents, read by netpol and by this machine's kubectl: those that they read differently.
#     tests/suite/reader-fuzz.sh --count 5000 --seed 1
set -euo pipefail
cd "$(dirname "$0")/../.."
exec cargo run --quiet --locked --release -p random-cluster --bin fuzz-reader -- "$@"
