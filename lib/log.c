/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

enum { BACKLOG_MAX = 4 << 20, LINE_MAX_BYTES = 4096, DATAGRAMS = 64 };

/* The one log of the process: lines are ended by a newline also for syslog, which splits on them. */
static struct log {
	const char *ident, *host;
	enum log_level least;
	int fd;
	bool syslog;
	pid_t pid;
	struct loop *loop;
	struct loop_task task;
	struct buf out;
	uint64_t lost;
	time_t stamp_at;
	char stamp[32];
} lg = { .ident = "ekiden", .host = "localhost", .fd = STDERR_FILENO, .out = BUF_INIT(BACKLOG_MAX) };

static void
flush_task(struct loop_task *t)
{
	(void)t;
	log_flush();
}

void
log_init(const char *ident, const char *host, enum log_level least)
{
	lg.ident = ident;
	lg.host = host;
	lg.least = least;
	lg.pid = getpid();
}

void
log_open(int fd, bool syslog)
{
	log_flush();
	if (lg.fd > STDERR_FILENO && lg.fd != fd)
		close(lg.fd);
	lg.fd = fd;
	lg.syslog = syslog;
}

void
log_attach(struct loop *l)
{
	lg.loop = l;
	lg.task.run = flush_task;
}

static void
write_file(void)
{
	while (buf_len(&lg.out)) {
		ssize_t n = write(lg.fd, lg.out.p + lg.out.off, buf_len(&lg.out));
		if (n <= 0) {
			if (n < 0 && errno == EINTR)
				continue;
			return; /* kept for the next flush, up to the limit */
		}
		buf_consume(&lg.out, (size_t)n);
	}
}

static void
write_syslog(void)
{
	while (buf_len(&lg.out)) {
		struct mmsghdr m[DATAGRAMS];
		struct iovec iov[DATAGRAMS];
		struct view rest = buf_view(&lg.out);
		size_t len[DATAGRAMS];
		unsigned count = 0;

		memset(m, 0, sizeof(m));
		for (; count < DATAGRAMS && rest.n; count++) {
			struct view line = view_cut(&rest, '\n');
			len[count] = line.n + 1;
			iov[count] = (struct iovec){ (void *)(uintptr_t)line.p, line.n };
			m[count].msg_hdr.msg_iov = &iov[count];
			m[count].msg_hdr.msg_iovlen = 1;
		}
		int sent = sendmmsg(lg.fd, m, count, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent <= 0)
			return;
		for (int i = 0; i < sent; i++)
			buf_consume(&lg.out, len[i]);
	}
}

void
log_flush(void)
{
	if (buf_len(&lg.out) == 0)
		return;
	if (lg.syslog)
		write_syslog();
	else
		write_file();
	if (buf_len(&lg.out) == 0 && lg.out.cap > 65536)
		buf_free(&lg.out);
}

static void
put_stamp(struct buf *b)
{
	time_t now = (time_t)(clock_wall_us() / 1000000);

	if (now != lg.stamp_at) {
		struct tm tm;
		localtime_r(&now, &tm);
		strftime(lg.stamp, sizeof(lg.stamp), "%b %e %H:%M:%S", &tm);
		lg.stamp_at = now;
	}
	buf_puts(b, lg.stamp);
}

static void
put_prefix(enum log_level level)
{
	static const unsigned char priority[] = { 7, 6, 4, 3 };

	if (lg.syslog) {
		buf_putc(&lg.out, '<');
		buf_put_decimal(&lg.out, 2u * 8 + priority[level]); /* facility mail */
		buf_putc(&lg.out, '>');
	}
	put_stamp(&lg.out);
	buf_putc(&lg.out, ' ');
	if (!lg.syslog) {
		buf_puts(&lg.out, lg.host);
		buf_putc(&lg.out, ' ');
	}
	buf_puts(&lg.out, lg.ident);
	buf_putc(&lg.out, '[');
	buf_put_decimal(&lg.out, (unsigned long)(lg.pid ? lg.pid : getpid()));
	buf_puts(&lg.out, "]: ");
}

static bool
plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f;
}

static bool
among(const char *few, char c)
{
	while (*few && *few != c)
		few++;
	return *few;
}

void
log_escape(struct buf *out, struct view v, size_t max, const char *also)
{
	struct view r = view_first(v, max);

	while (r.n) {
		size_t n = 0;
		while (n < r.n && plain((unsigned char)r.p[n]) && r.p[n] != '\\' &&
		    (also == NULL || !among(also, r.p[n])))
			n++;
		buf_put(out, r.p, n);
		r = view_skip(r, n);
		if (r.n) {
			buf_printf(out, "\\%03o", (unsigned char)r.p[0]);
			r = view_skip(r, 1);
		}
	}
	if (v.n > max)
		buf_puts(out, "...");
}

/* The last line of defence: whatever a caller formatted, one call is one line of printable ASCII. */
static void
put_safe(struct view v)
{
	while (v.n) {
		size_t n = 0;
		while (n < v.n && plain((unsigned char)v.p[n]))
			n++;
		buf_put(&lg.out, v.p, n);
		v = view_skip(v, n);
		if (v.n) {
			buf_printf(&lg.out, "\\%03o", (unsigned char)v.p[0]);
			v = view_skip(v, 1);
		}
	}
}

static void
emit(enum log_level level, const char *prefix, struct view text)
{
	if (level < lg.least)
		return;
	size_t before = buf_len(&lg.out);
	if (lg.lost) {
		put_prefix(LOG_LEVEL_WARNING);
		buf_printf(&lg.out, "warning: %llu log lines lost\n", (unsigned long long)lg.lost);
	}
	put_prefix(level);
	buf_puts(&lg.out, prefix);
	put_safe(view_first(text, LINE_MAX_BYTES));
	buf_putc(&lg.out, '\n');
	if (lg.out.bad) {
		lg.out.bad = false;
		buf_truncate(&lg.out, before);
		lg.lost++;
	} else {
		lg.lost = 0;
	}
	if (lg.loop)
		loop_post(lg.loop, LOOP_LOG, &lg.task);
	else
		log_flush();
}

__attribute__((format(printf, 3, 0))) static void
emitf(enum log_level level, const char *prefix, const char *fmt, va_list ap)
{
	char text[LINE_MAX_BYTES];

	if (level < lg.least)
		return;
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n < 0)
		n = 0;
	emit(level, prefix, view_of(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));
}

void
log_line(struct view line)
{
	emit(LOG_LEVEL_INFO, "", line);
}

void
log_debug(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	emitf(LOG_LEVEL_DEBUG, "debug: ", fmt, ap);
	va_end(ap);
}

void
log_info(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	emitf(LOG_LEVEL_INFO, "", fmt, ap);
	va_end(ap);
}

void
log_warn(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	emitf(LOG_LEVEL_WARNING, "warning: ", fmt, ap);
	va_end(ap);
}

void
log_error(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	emitf(LOG_LEVEL_ERROR, "error: ", fmt, ap);
	va_end(ap);
}

void
log_fatal(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	emitf(LOG_LEVEL_ERROR, "fatal: ", fmt, ap);
	va_end(ap);
	log_flush();
	exit(1);
}
