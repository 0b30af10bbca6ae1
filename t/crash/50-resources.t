#!/bin/sh
# SPDX-License-Identifier: ISC
# The short form; t/crash/README.md has the long one.
exec "$(dirname "$0")/ekcrash" resources --short
