#!/usr/bin/env bash
# Builds the three programs as they are shipped, into the folder OUT: without cgo, stripped, and the
# agent small. VERSION is what they say of themselves.
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
export VERSION=${VERSION:-unknown}
CGO_ENABLED=0 go build -trimpath -tags grpcnotrace \
	-ldflags "-s -w -X github.com/countersign-ota/countersign/cmd/internal/cli.Version=$VERSION" \
	-o "$out/" ./cmd/countersign ./cmd/countersignd
bash tools/build-agent.sh "$out/countersign-agent"
