/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/err.h"

int
err_set(struct err *e, enum err_class class, struct esc esc, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return -1;
	e->class = class;
	e->esc = esc;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return -1;
}

int
err_errno(struct err *e, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(e, ERR_TEMP, ESC(4, 3, 0), "%s: %s", text, strerror(saved));
	errno = saved;
	return -1;
}

int
err_usage(struct err *e, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_PERM, ESC(5, 5, 4), "%s", text);
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX * 2];
	va_list ap;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	int n = vsnprintf(text, ERR_TEXT_MAX, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= ERR_TEXT_MAX)
		n = ERR_TEXT_MAX - 1;
	snprintf(text + n, sizeof(text) - (size_t)n, ": %s", e->text);
	text[ERR_TEXT_MAX - 1] = '\0';
	memcpy(e->text, text, ERR_TEXT_MAX);
	return -1;
}
