#!/bin/sh
# SPDX-License-Identifier: ISC
# The short form, in a build that has fault points when there is one; t/crash/README.md has the long form.
for build in "${EKIDEN_FAULT_BUILD:-}" "$EKIDEN_SRC/build-asan" "$EKIDEN_BUILD/crash-build"; do
	[ -x "$build/master/ekiden" ] && EKIDEN_BUILD=$build && break
done
export EKIDEN_BUILD
exec "$(dirname "$0")/ekcrash" points --short
