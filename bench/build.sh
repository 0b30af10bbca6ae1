#!/bin/sh
# SPDX-License-Identifier: ISC
# usage: bench/build.sh OUTDIR   (CC and CFLAGS from the environment)
set -e; cd "$(dirname "$0")/.."; mkdir -p "${1:?usage: build.sh OUTDIR}"; w="${CC:-cc} -std=gnu17 ${CFLAGS:--O2} -Wall -Wextra -Wformat=2 -Werror -I."
$w -o "$1/mailsource" bench/mailsource.c bench/source_*.c bench/net.c bench/hist.c -lssl -lcrypto
$w -o "$1/mailsink" bench/mailsink.c bench/sink_*.c bench/net.c bench/hist.c -lssl -lcrypto
