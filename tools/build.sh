#!/usr/bin/env bash
# Builds what ships into the folder OUT: the three programs without cgo, stripped, and the agent small;
# and the plug-in for PKCS#11, whose modules are C, with it. VERSION is what they say of themselves.
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
export VERSION=${VERSION:-unknown}
CGO_ENABLED=0 go build -trimpath -tags grpcnotrace \
	-ldflags "-s -w -X github.com/countersign-ota/countersign/cmd/internal/cli.Version=$VERSION" \
	-o "$out/" ./cmd/countersign ./cmd/countersignd
bash tools/build-agent.sh "$out/countersign-agent"
CGO_ENABLED=1 go build -trimpath -ldflags '-s -w' -o "$out/" ./cmd/sigstore-kms-pkcs11
