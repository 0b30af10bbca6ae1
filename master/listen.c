/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/listen.h"

enum { LISTEN_BACKLOG = 4096, WAIT_STEP_MS = 20 };

static int
bind_within(int fd, const struct hostport *at, unsigned wait_ms)
{
	while (bind(fd, (const struct sockaddr *)&at->addr, at->len) < 0) {
		if (errno != EADDRINUSE || wait_ms < WAIT_STEP_MS)
			return -1;
		usleep(WAIT_STEP_MS * 1000);
		wait_ms -= WAIT_STEP_MS;
	}
	return listen(fd, LISTEN_BACKLOG);
}

int
listen_open(const struct hostport *at, unsigned wait_ms, struct err *e)
{
	int on = 1, family = at->addr.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(e, "%s: socket", at->text);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (family == AF_INET6 &&
	        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind_within(fd, at, wait_ms) < 0) {
		err_errno(e, "%s: bind", at->text);
		close(fd);
		return -1;
	}
	return fd;
}
