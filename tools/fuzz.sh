#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 20s) and prints a line each.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-20s}
count=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
while IFS=: read -r file name; do
	pkg=./$(dirname "$file")
	if ! go test -run='^$' -fuzz="^$name\$" -fuzztime="$time" -fuzzminimizetime=10x "$pkg" >"$out" 2>&1; then
		cat "$out" >&2
		echo "fuzz: $name in $pkg failed" >&2
		exit 1
	fi
	execs=$(grep -o 'execs: [0-9]*' "$out" | tail -n 1 | cut -d' ' -f2 || true)
	printf '%-34s %-32s %12s runs in %s\n' "$name" "$pkg" "${execs:-0}" "$time"
	count=$((count + 1))
done < <(grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|^\./||; s|:[0-9]+:func |:|' | sort)
if [ "$count" -eq 0 ]; then
	echo "fuzz: no fuzz target found" >&2
	exit 1
fi
echo "fuzz: $count targets passed"
