#!/bin/sh
# SPDX-License-Identifier: ISC
# The signd executable behind its sandbox, with a harness for master and smtpd.
build=${EKIDEN_BUILD:-build}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
"$build/t/signd/harness" "$build/signd/signd" "$dir"
