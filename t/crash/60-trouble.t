#!/bin/sh
# SPDX-License-Identifier: ISC
# The short form; t/crash/README.md has the long one. The clock: 65-clock.t.
exec "$(dirname "$0")/ekcrash" trouble --short --only 'log|reload|dns'
