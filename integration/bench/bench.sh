#!/usr/bin/env bash
# Builds the programs and runs the measurements: medians of ratios within
# one run. SIZE is the image in MiB, ROUNDS how often each side runs.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
bash tools/build.sh "$work/bin"
CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -o "$work/bin/bench" ./integration/bench
"$work/bin/bench" -bin "$work/bin" -dir "$work/world" -size "${SIZE:-256}" -rounds "${ROUNDS:-9}"
echo
echo "store: acknowledged small writes"
go test -run '^$' -bench . -benchtime "${BENCHTIME:-1s}" ./repository/internal/store/bolt | grep -E '^(Benchmark|cpu)'
