#!/usr/bin/env bash
# Fails when a generated file is not what its source generates.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
list() { git ls-files '*.pb.go' docs/errors.md; }
list | while read -r f; do
	mkdir -p "$copy/$(dirname "$f")"
	cp "$f" "$copy/$f"
done
bin/tools/buf format -d --exit-code
bin/tools/buf generate
go generate ./proto/reason
stale=0
while read -r f; do
	if ! cmp -s "$f" "$copy/$f"; then
		echo "generated: $f was not current; it is now, commit it" >&2
		stale=1
	fi
done < <(list)
[ "$stale" -eq 0 ] && echo "generated files are current"
exit "$stale"
