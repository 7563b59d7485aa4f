#!/usr/bin/env bash
# Installs what the tests use beside Go and make, from Debian's packages, and says so when it cannot.
set -euo pipefail
need=()
want() { command -v "$1" >/dev/null 2>&1 || need+=("$2"); }
want git git
want losetup mount
want mkfs.ext4 e2fsprogs
want gcc gcc
want softhsm2-util softhsm2
want pkcs11-tool opensc
if [ "${#need[@]}" -eq 0 ]; then
	exit 0
fi
echo "setup: installing ${need[*]}"
if ! command -v apt-get >/dev/null 2>&1; then
	echo "setup: error: these are missing and there is no apt-get: ${need[*]}; install them, then run it again" >&2
	exit 1
fi
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo -n)
if ! "${root[@]}" apt-get update -q >/dev/null || ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${need[@]}" >/dev/null; then
	echo "setup: error: apt-get could not install ${need[*]}; install them by hand, then run it again" >&2
	exit 1
fi
