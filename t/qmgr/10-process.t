#!/bin/sh
# SPDX-License-Identifier: ISC
# The qmgr executable behind its sandbox, with a harness for master, smtpd, smtp, bounce and mtactl.
build=${EKIDEN_BUILD:-build}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
"$build/t/qmgr/harness" "$build/qmgr/qmgr" "$dir"
