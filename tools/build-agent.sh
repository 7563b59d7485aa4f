#!/usr/bin/env bash
# Builds countersign-agent as devices get it: OUT, then VAR=VALUE of the target (GOARCH, GOARM, VERSION…).
# Small before fast (docs/design.md 5.5): no inlining, which costs no measurable CPU where hashing
# dominates, and no HTTP/2 in net/http, which the agent does not use beside gRPC's own.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
shift
for v in "$@"; do export "${v?}"; done
CGO_ENABLED=0 go build -trimpath -tags grpcnotrace,nethttpomithttp2 -gcflags=all=-l \
	-ldflags "-s -w -X github.com/countersign-ota/countersign/cmd/internal/cli.Version=${VERSION:-unknown}" -o "$out" ./cmd/countersign-agent
