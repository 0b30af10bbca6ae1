#!/bin/sh
# SPDX-License-Identifier: ISC
# The bounce executable behind its sandbox, with a harness for master and qmgr.
build=${EKIDEN_BUILD:-build}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
"$build/t/bounce/harness" "$build/bounce/bounce" "$dir"
