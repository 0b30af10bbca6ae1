/* SPDX-License-Identifier: ISC */
/*
 * Files that survive a power cut. What holds on ext4 and xfs: data + fsync under the final name, or
 * data + fsync, rename, fsync of the folder. Anything less was lost in every measured cut.
 * Two-phase effects carry named fault points (lib/fault.h).
 */
#ifndef EKIDEN_DURABLE_H
#define EKIDEN_DURABLE_H

#include "lib/buf.h"
#include "lib/err.h"

/* All bytes, or -1 (EINTR and short writes are handled). */
int durable_write(int fd, const void *p, size_t n, struct err *e);
int durable_pwrite(int fd, const void *p, size_t n, uint64_t at, struct err *e);
/* After a failure the fd must not be used again: a retried fdatasync may lie. */
int durable_sync(int fd, struct err *e);
int durable_sync_dir(int dirfd, struct err *e);
/* Replaces name in dirfd atomically and durably with mode 0600. */
int durable_replace(int dirfd, const char *name, struct view content, struct err *e);
/* The whole file into out; over max is an error. */
int durable_read(int dirfd, const char *name, size_t max, struct buf *out, struct err *e);

/* CRC32C (Castagnoli), hardware where the CPU has it. Chain by passing the former result; start with 0. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same without the hardware; tests compare the two. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);
/* The sum of two pieces one behind the other, from the sum of each and the length of the second. */
uint32_t crc32c_combine(uint32_t first, uint32_t second, uint64_t second_n);

#endif
