#!/usr/bin/env bash
# Lists the packages that have tests of their own under the build tag `faults`.
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rlE --include='*_test.go' '^//go:build .*\bfaults\b' . | xargs -r -n1 dirname | sort -u
