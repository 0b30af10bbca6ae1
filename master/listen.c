/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/listen.h"

enum { LISTEN_BACKLOG = 4096 };

int
listen_open(const struct hostport *at, struct err *e)
{
	int on = 1, family = at->addr.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(e, "%s: socket", at->text);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (family == AF_INET6 &&
	        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (const struct sockaddr *)&at->addr, at->len) < 0 ||
	    listen(fd, LISTEN_BACKLOG) < 0) {
		err_errno(e, "%s: bind", at->text);
		close(fd);
		return -1;
	}
	return fd;
}
