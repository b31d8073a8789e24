#!/usr/bin/env bash
# Builds the programs, runs every test, and says at the end how many there were.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The end-to-end tests run the programs that users run.
cargo build --release --locked
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --workspace --locked --no-fail-fast -- --show-output 2>&1 | tee "$log" || status=$?

count() { awk -v word="$1" '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ "^" word) n += $(i - 1) } END { print n + 0 }' "$log"; }
skipped=$(grep -c '^SKIPPED: ' "$log" || true)
printf '\n%s passed, %s failed, %s skipped\n' \
  "$(($(count passed) - skipped))" "$(count failed)" "$((skipped + $(count ignored)))"
if [ "$skipped" -gt 0 ]; then
  printf 'skipped, and why:\n'
  grep '^SKIPPED: ' "$log" | sort -u
fi
exit "$status"
