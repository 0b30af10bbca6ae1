/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/aio.h"
#include "lib/buf.h"

enum { EVENTS_A_CALL = 16 };

struct aio {
	struct loop *loop;
	aio_context_t ctx;
	struct loop_fd wake; /* an eventfd that the kernel counts up for each operation that ended; never read */
};

static void
on_wake(struct loop_fd *lf, unsigned events)
{
	struct aio *a = CONTAINER(lf, struct aio, wake);
	struct io_event done[EVENTS_A_CALL];
	long n;

	(void)events;
	do {
		n = syscall(SYS_io_getevents, a->ctx, 0l, (long)EVENTS_A_CALL, done, NULL);
		for (long i = 0; i < n; i++) {
			struct aio_op *op = (struct aio_op *)(uintptr_t)done[i].data;
			op->pending = false;
			op->done(op, (long)done[i].res);
		}
	} while (n == EVENTS_A_CALL);
}

struct aio *
aio_new(struct loop *l, unsigned depth)
{
	struct aio *a = x_calloc(1, sizeof(*a));

	a->loop = l;
	a->wake = (struct loop_fd){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = on_wake };
	if (a->wake.fd >= 0 && syscall(SYS_io_setup, depth, &a->ctx) == 0) {
		if (loop_add_read(l, &a->wake) == 0)
			return a;
		syscall(SYS_io_destroy, a->ctx);
	}
	int saved = errno;
	if (a->wake.fd >= 0)
		close(a->wake.fd);
	free(a);
	errno = saved;
	return NULL;
}

void
aio_free(struct aio **ap)
{
	struct aio *a = *ap;

	if (a == NULL)
		return;
	syscall(SYS_io_destroy, a->ctx); /* waits */
	int fd = a->wake.fd;
	loop_del(a->loop, &a->wake);
	close(fd);
	free(a);
	*ap = NULL;
}

static int
submit(struct aio *a, struct aio_op *op, struct iocb *cb)
{
	struct iocb *list[] = { cb };

	cb->aio_data = (uint64_t)(uintptr_t)op;
	cb->aio_flags = IOCB_FLAG_RESFD;
	cb->aio_resfd = (uint32_t)a->wake.fd;
	if (syscall(SYS_io_submit, a->ctx, 1l, list) != 1)
		return -1;
	op->pending = true;
	return 0;
}

int
aio_fdatasync(struct aio *a, struct aio_op *op, int fd)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_FDSYNC, .aio_fildes = (uint32_t)fd };

	return submit(a, op, &cb);
}

int
aio_pwrite(struct aio *a, struct aio_op *op, int fd, const void *p, size_t n, uint64_t at)
{
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (uint32_t)fd,
		.aio_buf = (uint64_t)(uintptr_t)p, .aio_nbytes = n, .aio_offset = (int64_t)at };

	return submit(a, op, &cb);
}
