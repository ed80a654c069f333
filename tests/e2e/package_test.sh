#!/usr/bin/env bash
# Builds the Debian packages and runs package_test.py on them in the VM. It takes no options.
set -euo pipefail
cd "$(dirname "$0")/../.."
scripts/package
exec scripts/vm --timeout 1000 --memory 3072 6.12 "$PWD/tests/e2e/package_test.py" "$PWD/build/release/packages"
