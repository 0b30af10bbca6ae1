/* SPDX-License-Identifier: ISC */
/* Standard output and standard error, and the configuration that says where the suite is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mtactl/mtactl.h"

int
complain(const char *fmt, ...)
{
	struct buf b = BUF_INIT(1 << 20);
	va_list ap;

	buf_puts(&b, "mtactl: ");
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	/* What a daemon or a file said must not steer the terminal. */
	for (size_t i = b.off; i < b.end; i++)
		if ((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f)
			b.p[i] = '?';
	buf_putc(&b, '\n');
	complain_raw(&b);
	buf_free(&b);
	return STATUS_FAILED;
}

static bool
write_all(int fd, struct view v)
{
	while (v.n) {
		ssize_t n = write(fd, v.p, v.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		v = view_skip(v, (size_t)n);
	}
	return true;
}

void
complain_raw(struct buf *b)
{
	write_all(STDERR_FILENO, buf_view(b));
}

bool
print(struct buf *b)
{
	bool good = !b->bad && write_all(STDOUT_FILENO, buf_view(b));

	if (!good && b->bad)
		complain("too much output");
	else if (!good && errno != EPIPE)
		complain("standard output: %s", strerror(errno));
	buf_wipe(b);
	return good;
}

struct conf *
load_config(const struct mtactl *m, bool strict)
{
	struct buf problems = BUF_INIT(16 << 20);
	struct conf *c = conf_read_lenient(m->config, &problems);
	struct view rest = buf_view(&problems);

	if (c && strict && rest.n)
		conf_free(&c);
	if (c == NULL)
		while (rest.n) {
			struct view line = view_cut(&rest, '\n');
			complain("%.*s", (int)line.n, line.p);
		}
	else if (rest.n)
		complain("warning: %s has errors; see mtactl config check", m->config);
	buf_free(&problems);
	return c;
}
