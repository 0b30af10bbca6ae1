/* SPDX-License-Identifier: ISC */
/*
 * Kernel AIO (io_submit(2)): what waits for a disk runs beside the loop, without a thread. The process
 * can do no more with it than with pwrite() and fdatasync() on descriptors that it has, so a sandbox
 * loses nothing by allowing it.
 *
 * Where the kernel lacks it, aio_new() returns NULL and callers do the same work synchronously.
 */
#ifndef EKIDEN_AIO_H
#define EKIDEN_AIO_H

#include "lib/loop.h"

struct aio;

/* Embedded in what waits; in at most one aio, from the call until done(). Memory stays where it is. */
struct aio_op {
	/* res: bytes, 0 for a sync, or -errno. A callback of the loop, never within the call. */
	void (*done)(struct aio_op *op, long res);
	bool pending;
};

/* depth: operations under way at a time, above which starting one fails with EAGAIN. NULL with errno. */
struct aio *aio_new(struct loop *l, unsigned depth);
/* Waits for what is under way; no done() is called any more. NULL is fine. */
void aio_free(struct aio **a);

/*
 * Start an operation: 0, or -1 with errno and nothing under way. The descriptor may be closed at once:
 * the kernel holds the file, and its locks, until the operation ends.
 */
int aio_fdatasync(struct aio *a, struct aio_op *op, int fd);
/* With O_DIRECT memory, length and offset are aligned as the file system wants it; without, it blocks. */
int aio_pwrite(struct aio *a, struct aio_op *op, int fd, const void *p, size_t n, uint64_t at);

#endif
