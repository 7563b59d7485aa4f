#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 20s) and prints a line each. As many targets run at once
# as there are processors, each with one worker.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZTIME=${FUZZTIME:-20s}

one() { # FILE:NAME
	local pkg name out execs
	pkg=./$(dirname "${1%%:*}") name=${1##*:}
	run() { out=$(go test -run='^$' -fuzz="^$name\$" -fuzztime="$FUZZTIME" -fuzzminimizetime=10x -parallel=1 "$pkg" 2>&1); }
	# The go command sometimes takes the end of FUZZTIME for a failure: then there
	# is no failing input, and the target runs once more.
	if ! run && { grep -q 'Failing input' <<<"$out" || ! grep -q 'context deadline exceeded' <<<"$out" || ! run; }; then
		printf '%s\nfuzz: %s in %s failed\n' "$out" "$name" "$pkg" >&2
		return 255 # xargs starts no further target
	fi
	execs=$(grep -o 'execs: [0-9]*' <<<"$out" | tail -n 1 | cut -d' ' -f2 || true)
	printf '%-34s %-32s %12s runs in %s\n' "$name" "$pkg" "${execs:-0}" "$FUZZTIME"
}
export -f one

targets=$(grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|^\./||; s|:[0-9]+:func |:|' | sort)
if [ -z "$targets" ]; then
	echo "fuzz: no fuzz target found" >&2
	exit 1
fi
xargs -P "$(nproc)" -I{} bash -c 'one {}' <<<"$targets"
echo "fuzz: $(wc -l <<<"$targets") targets passed"
