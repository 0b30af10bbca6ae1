/* SPDX-License-Identifier: ISC */
/* A store in a folder of its own, and the admin's commands on it as mtactl --offline runs them. */
#ifndef EKIDEN_T_ADMIN_FIXTURE_H
#define EKIDEN_T_ADMIN_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authd/admin.h"
#include "authd/check.h"
#include "lib/log.h"
#include "t/tap.h"

static char top[] = "/tmp/ekiden-admin-XXXXXX";

struct fixture {
	struct authd_store *store;
	struct hasher hasher;
	struct buf rows; /* "field=value ..." a line; times and the secret as they are */
	struct buf text; /* of the end */
	int status, count;
	char *dir;
};

static inline struct view
next_frame(struct view *frames, uint16_t *type)
{
	uint32_t n = view_get_u32(frames);

	*type = view_get_u16(frames);
	(void)view_get_u16(frames);
	return view_get(frames, n);
}

static inline void
take_row(struct fixture *f, struct view body)
{
	struct ipc_ctl_row row;
	struct ipc_ctl_field field;

	if (!ipc_get(&ipc_desc_ctl_row, body, &row))
		abort();
	f->count++;
	while (row.fields.n && ipc_next(&ipc_desc_ctl_field, &row.fields, &field)) {
		buf_putv(&f->rows, field.name);
		buf_putc(&f->rows, '=');
		if (field.type == CTL_LIST)
			while (field.value.n) {
				buf_putv(&f->rows, view_get_block(&field.value, field.value.n));
				buf_puts(&f->rows, ";");
			}
		else
			buf_putv(&f->rows, field.value);
		buf_putc(&f->rows, row.fields.n ? ' ' : '\n');
	}
}

/* Runs "command" with these arguments. */
static inline void
run_args(struct fixture *f, const char *command, struct view args, struct buf *frames)
{
	struct ipc_ctl_end end;
	uint16_t type;

	buf_clear(&f->rows);
	buf_clear(&f->text);
	f->count = 0;
	f->status = -1;
	if (ctl_run_local(authd_commands, f->store, view_str(command), args, frames) < 0)
		abort();
	for (struct view v = buf_view(frames); v.n;) {
		struct view body = next_frame(&v, &type);
		if (type == IPC_TYPE_ctl_row) {
			take_row(f, body);
		} else if (type == IPC_TYPE_ctl_end && ipc_get(&ipc_desc_ctl_end, body, &end)) {
			f->status = end.status;
			buf_putv(&f->text, end.text);
		}
	}
}

/* Runs "command" with name, value pairs up to NULL; returns the exit status. */
static inline int
run(struct fixture *f, const char *command, ...)
{
	struct buf args = BUF_INIT(65536), frames = BUF_INIT(64 << 20);
	va_list ap;

	va_start(ap, command);
	for (const char *name; (name = va_arg(ap, const char *)) != NULL;)
		IPC_RECORD(&args, ctl_arg, .name = view_str(name),
		    .value = view_str(va_arg(ap, const char *)));
	va_end(ap);
	run_args(f, command, buf_view(&args), &frames);
	buf_free(&args);
	buf_free(&frames);
	return f->status;
}

/* The value of a field of the last rows, owned. */
static inline char *
value_of(struct fixture *f, const char *field)
{
	char want[80];

	snprintf(want, sizeof(want), "%s=", field);
	const char *at = strstr(buf_cstr(&f->rows), want);
	if (at == NULL)
		return x_strdup("");
	at += strlen(want);
	return x_strndup(view_of(at, strcspn(at, " \n")));
}

static inline uint16_t
auth(struct fixture *f, const char *user, const char *secret)
{
	struct check_identity id;
	struct policy_reply r;

	check_auth(f->store, &f->hasher, &(struct check_login){ .user = view_str(user),
	    .client = VIEW("192.0.2.1"), .secret = view_str(secret), .now_us = clock_wall_us() },
	    &id, &r);
	return r.code;
}

static inline uint16_t
mail(struct fixture *f, const char *tenant, const char *user, const char *sender)
{
	struct policy_reply r;

	struct check_records found;
	check_mail(f->store, &(struct check_sender){ .tenant = view_str(tenant),
	    .user = view_str(user), .client = VIEW("192.0.2.1"), .sender = view_str(sender),
	    .now_us = clock_wall_us() }, &found,
	    &r);
	return r.code;
}

/* Is the text in any file of the store? */
static inline bool
on_disk(const char *dir, const char *text)
{
	struct buf path = BUF_INIT(4096);
	bool found = false;
	DIR *d = opendir(dir);
	char *content = x_malloc(32 << 20);

	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		buf_clear(&path);
		buf_printf(&path, "%s/%s", dir, e->d_name);
		int fd = open(buf_cstr(&path), O_RDONLY);
		ssize_t n = fd >= 0 ? read(fd, content, 32 << 20) : -1;
		found |= n > 0 && memmem(content, (size_t)n, text, strlen(text)) != NULL;
		if (fd >= 0)
			close(fd);
	}
	closedir(d);
	free(content);
	buf_free(&path);
	return found;
}

/* The log goes to a file in `top`. */
static inline bool
fixture_open(struct fixture *f)
{
	struct buf path = BUF_INIT(256);
	struct err e;

	*f = (struct fixture){ .rows = BUF_INIT(1 << 20), .text = BUF_INIT(4096) };
	if (mkdtemp(top) == NULL || hasher_open(&f->hasher, &e) < 0)
		return false;
	buf_printf(&path, "%s/log", top);
	log_init("ekiden/authd", "host", LOG_LEVEL_INFO);
	log_open(open(buf_cstr(&path), O_WRONLY | O_CREAT | O_APPEND, 0600), false);
	buf_clear(&path);
	buf_printf(&path, "%s/store", top);
	f->dir = x_strdup(buf_cstr(&path));
	buf_free(&path);
	f->store = store_open(f->dir, &e);
	return ok(f->store != NULL, "open a new store");
}

static inline void
fixture_close(struct fixture *f)
{
	struct buf command = BUF_INIT(256);

	store_close(&f->store);
	buf_printf(&command, "rm -rf %s", top);
	if (system(buf_cstr(&command)) != 0)
		abort();
	hasher_close(&f->hasher);
	buf_free(&command);
	buf_free(&f->rows);
	buf_free(&f->text);
	free(f->dir);
}

#endif
