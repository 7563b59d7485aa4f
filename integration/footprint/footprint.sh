#!/usr/bin/env bash
# Stripped sizes of the agent by architecture, and its peak memory for a 1 GiB image on amd64 and 386
# (docs/design.md 5.5). Fails when a bound is exceeded.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
fail=0
echo "size of countersign-agent as tools/build-agent.sh makes it: stripped, without cgo"
while read -r name arch limit vars; do
	bash tools/build-agent.sh "$work/agent-$name" GOOS=linux GOARCH="$arch" ${vars:-}
	size=$(stat -c %s "$work/agent-$name")
	verdict=ok
	if [ "$size" -gt "$limit" ]; then
		verdict="TOO LARGE"
		fail=1
	fi
	printf '  %-12s %12s bytes   limit %12s   %s\n' "$name" "$size" "$limit" "$verdict"
done <<'LIST'
arm-v6 arm 10000000 GOARM=6
arm64 arm64 10000000
amd64 amd64 12000000
mipsle mipsle 12000000 GOMIPS=softfloat
riscv64 riscv64 12000000
386 386 12000000
LIST
bash tools/build.sh "$work/bin-amd64"
cp -r "$work/bin-amd64" "$work/bin-386"
cp "$work/agent-386" "$work/bin-386/countersign-agent"
CGO_ENABLED=0 go build -trimpath -o "$work/footprint" ./integration/footprint
echo "peak memory (VmHWM) of once: fetch, verify, stage and install a 1 GiB image over gRPC"
"$work/footprint" -dir "$work/world-amd64" -bin "$work/bin-amd64" -name amd64 -limit 32 || fail=1
"$work/footprint" -dir "$work/world-386" -bin "$work/bin-386" -name 386 -limit 24 || fail=1
exit "$fail"
