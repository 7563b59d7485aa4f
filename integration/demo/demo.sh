#!/usr/bin/env bash
# Builds the three programs and two firmware images, then runs the demonstration on them.
# FIRMWARE=a,b takes two other files, older first.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "building countersign, countersignd, countersign-agent"
bash tools/build.sh "$work/bin"
CGO_ENABLED=0 go build -trimpath -o "$work/bin/demo" ./integration/demo
if [ -n "${FIRMWARE:-}" ]; then
	old=${FIRMWARE%%,*} new=${FIRMWARE#*,}
else
	echo "building two firmware images: the agent for linux/arm, versions 1.0.0 and 1.1.0"
	for version in 1.0.0 1.1.0; do
		bash tools/build-agent.sh "$work/firmware-$version.img" GOOS=linux GOARCH=arm GOARM=6 VERSION="$version"
	done
	old=$work/firmware-1.0.0.img new=$work/firmware-1.1.0.img
fi
"$work/bin/demo" -bin "$work/bin" -dir "$work/world" -old "$old" -new "$new"
