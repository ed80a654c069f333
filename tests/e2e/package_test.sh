#!/usr/bin/env bash
# Builds the Debian packages and runs package_test.py on them in the VM. It takes no options.
set -euo pipefail
cd "$(dirname "$0")/../.."
scripts/package
# The version before, as far as packages go: the same programs, and a lower number.
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
dpkg-deb --raw-extract build/release/packages/wicket_*.deb "$old/tree"
sed -i 's/^Version: .*/Version: 0.0.9/' "$old/tree/DEBIAN/control"
mkdir -p build/release/packages/before
dpkg-deb -Zgzip -z1 --root-owner-group -b "$old/tree" build/release/packages/before/wicket_0.0.9_amd64.deb >/dev/null
scripts/vm --timeout 1000 --memory 3072 6.12 "$PWD/tests/e2e/package_test.py" "$PWD/build/release/packages"
