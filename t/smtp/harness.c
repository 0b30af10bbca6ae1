/* SPDX-License-Identifier: ISC */
/*
 * Plays master and peers of one daemon, driven by a script: starts it on a channel as master does
 * and translates between frames and lines of text by the descriptors of lib/ipc_schema.h.
 *
 * Usage: drive PROGRAM [ARGUMENT].... Commands on standard input, one a line, words separated by
 * blanks, values percent-encoded: peer ROLE INSTANCE NAME         a channel to the daemon as that
 * peer, called NAME from now on; admin NAME                     a control connection; pause NAME, resume NAME
 * no frames are read from it; close NAME                      ends that channel; send NAME MESSAGE
 * [field=value | field=[f=v,f=v][...] | !fd=PATH | !memfd=TEXT]... "master" is the channel of
 * master. A frame from the daemon is printed as one line of JSON; so is the end of a channel
 * ({"on":NAME,"msg":"closed"}) and of the process ({"on":"","msg":"exit"}). The end of standard
 * input kills the daemon.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/loop.h"

enum { LINE_MAX_BYTES = 4 << 20, CHANNELS_MAX = 64, FIELDS_MAX = 64 };

struct end {
	struct channel ch;
	char name[32];
	int paused_fd;
};

struct drive {
	struct loop *loop;
	struct loop_fd in_fd;
	struct buf in;
	struct end ends[CHANNELS_MAX];
	size_t count;
	pid_t child;
};

/* Blobs that are lists of records. */
static const struct {
	const char *message, *field;
	const struct ipc_desc *record;
} lists[] = {
	{ "deliver", "rcpts", &ipc_desc_job_rcpt },
	{ "job_done", "results", &ipc_desc_job_result },
	{ "mx_answer", "hosts", &ipc_desc_mx_host },
	{ "conn_open", "hosts", &ipc_desc_mx_host },
	{ "ctl_call", "args", &ipc_desc_ctl_arg },
	{ "ctl_row", "fields", &ipc_desc_ctl_field },
	{ "txt_answer", "strings", &ipc_desc_txt_string },
	{ "report", "rcpts", &ipc_desc_report_rcpt },
};

union any {
#define ANY(num, name) struct ipc_##name name;
	IPC_MESSAGES(ANY) IPC_RECORDS(ANY)
};

static const struct ipc_desc *
list_of(const char *message, const char *field)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (!strcmp(lists[i].message, message) && !strcmp(lists[i].field, field))
			return lists[i].record;
	return NULL;
}

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "drive: %s\n", what);
	exit(2);
}

static void
put_json_string(struct buf *b, struct view v)
{
	buf_putc(b, '"');
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			buf_printf(b, "\\u%04x", c);
		else
			buf_putc(b, (char)c);
	}
	buf_putc(b, '"');
}

static void put_json_fields(struct buf *b, const struct ipc_desc *d, const void *m);

static void
put_json_blob(struct buf *b, const struct ipc_desc *d, const struct ipc_field *f, struct view v)
{
	const struct ipc_desc *record = list_of(d->name, f->name);
	union any any;
	bool first = true;

	if (record == NULL) {
		buf_putc(b, '"');
		for (size_t i = 0; i < v.n; i++)
			buf_printf(b, "%02x", (unsigned char)v.p[i]);
		buf_putc(b, '"');
		return;
	}
	buf_putc(b, '[');
	for (; ipc_next(record, &v, &any); first = false) {
		buf_puts(b, first ? "{" : ",{");
		put_json_fields(b, record, &any);
		buf_putc(b, '}');
	}
	buf_putc(b, ']');
}

static void
put_json_fields(struct buf *b, const struct ipc_desc *d, const void *m)
{
	size_t count;
	const struct ipc_field *f = d->fields(&count);

	for (size_t i = 0; i < count; i++, f++) {
		const void *at = (const char *)m + f->offset;
		buf_printf(b, "%s\"%s\":", i ? "," : "", f->name);
		if (f->kind == IPC_u8)
			buf_printf(b, "%u", *(const uint8_t *)at);
		else if (f->kind == IPC_u16)
			buf_printf(b, "%u", *(const uint16_t *)at);
		else if (f->kind == IPC_u32)
			buf_printf(b, "%u", *(const uint32_t *)at);
		else if (f->kind == IPC_u64)
			buf_printf(b, "%llu", (unsigned long long)*(const uint64_t *)at);
		else if (f->kind == IPC_flag)
			buf_puts(b, *(const bool *)at ? "true" : "false");
		else if (f->kind == IPC_blob)
			put_json_blob(b, d, f, *(const struct view *)at);
		else
			put_json_string(b, *(const struct view *)at);
	}
}

static void
print(struct buf *b)
{
	buf_putc(b, '\n');
	struct view v = buf_view(b);
	fwrite(v.p, 1, v.n, stdout);
	fflush(stdout);
	buf_free(b);
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	const struct end *end = ch->ctx;
	const struct ipc_desc *d = ipc_desc_of(type);
	struct buf b = BUF_INIT(LINE_MAX_BYTES);
	union any any;

	(void)fd;
	if (d == NULL || !ipc_get(d, body, &any))
		die("a bad frame came from the daemon");
	buf_printf(&b, "{\"on\":\"%s\",\"msg\":\"%s\",\"m\":{", end->name, d->name);
	put_json_fields(&b, d, &any);
	buf_puts(&b, "}}");
	print(&b);
	return true;
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	const struct end *end = ch->ctx;
	struct buf b = BUF_INIT(4096);

	buf_printf(&b, "{\"on\":\"%s\",\"msg\":\"closed\",\"m\":{\"why\":", end->name);
	put_json_string(&b, view_str(e ? e->text : ""));
	buf_puts(&b, "}}");
	channel_close(ch);
	print(&b);
}

static struct end *
end_new(struct drive *d, const char *name, int fd, enum role role, uint32_t instance)
{
	static const struct channel_ops ops = { on_frame, on_closed };

	if (d->count == CHANNELS_MAX)
		die("too many channels");
	struct end *end = &d->ends[d->count++];
	snprintf(end->name, sizeof(end->name), "%s", name);
	if (channel_open(&end->ch, d->loop, fd, &ops, end, role, instance) < 0)
		die("cannot watch a channel");
	return end;
}

static struct end *
end_find(struct drive *d, const char *name)
{
	for (size_t i = d->count; i-- > 0;)
		if (!strcmp(d->ends[i].name, name))
			return &d->ends[i];
	die("no such channel");
}

static void
unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2])) {
			char hex[3] = { s[1], s[2], '\0' };
			*to++ = (char)strtoul(hex, NULL, 16);
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static const struct ipc_field *
field_of(const struct ipc_desc *d, const char *name)
{
	size_t count;
	const struct ipc_field *f = d->fields(&count);

	for (; count--; f++)
		if (!strcmp(f->name, name))
			return f;
	fprintf(stderr, "drive: %s has no field %s\n", d->name, name);
	exit(2);
}

static void
set_number(const struct ipc_field *f, void *at, uint64_t x)
{
	if (f->kind == IPC_u8)
		*(uint8_t *)at = (uint8_t)x;
	else if (f->kind == IPC_u16)
		*(uint16_t *)at = (uint16_t)x;
	else if (f->kind == IPC_u32)
		*(uint32_t *)at = (uint32_t)x;
	else if (f->kind == IPC_u64)
		*(uint64_t *)at = x;
	else
		*(bool *)at = x != 0;
}

/* Values live until the end of the run: messages only borrow them. */
static struct kept {
	struct kept *next;
	char *p;
} * kept;

static char *
keep(char *p)
{
	struct kept *k = x_malloc(sizeof(*k));

	*k = (struct kept){ kept, p };
	kept = k;
	return p;
}

/* A NUL in a blob is written %00: its length is that of the unescaped text, known beforehand. */
static struct view
blob_value(char *value)
{
	size_t n = 0;

	for (const char *p = value; *p; n++)
		p += *p == '%' ? 3 : 1;
	char *copy = keep(x_malloc(n + 1)), *to = copy;
	for (const char *p = value; *p; p++) {
		unsigned x = (unsigned char)*p;
		if (*p == '%') {
			sscanf(p + 1, "%2x", &x);
			p += 2;
		}
		*to++ = (char)x;
	}
	return view_of(copy, n);
}

static void set_field(const struct ipc_desc *d, void *m, char *name, char *value);

/* "[f=v,f=v][...]" as a blob of records. */
static struct view
records_value(const struct ipc_desc *record, char *value)
{
	struct buf b = BUF_INIT(IPC_FRAME_MAX);
	char *end, *save;

	for (; *value == '['; value = end + 1) {
		union any any;
		memset(&any, 0, sizeof(any));
		if ((end = strchr(value, ']')) == NULL)
			die("a record without end");
		*end = '\0';
		for (char *word = strtok_r(value + 1, ",", &save); word;
		     word = strtok_r(NULL, ",", &save)) {
			char *eq = strchr(word, '=');
			if (eq == NULL)
				die("a field without value");
			*eq = '\0';
			set_field(record, &any, word, eq + 1);
		}
		ipc_put(&b, record, &any);
	}
	if (b.bad)
		die("a record does not encode");
	keep(b.p);
	return buf_view(&b);
}

static void
set_field(const struct ipc_desc *d, void *m, char *name, char *value)
{
	const struct ipc_field *f = field_of(d, name);
	void *at = (char *)m + f->offset;

	if (f->kind < IPC_blob) {
		set_number(f, at, strtoull(value, NULL, 0));
	} else if (f->kind == IPC_blob && list_of(d->name, name)) {
		*(struct view *)at = records_value(list_of(d->name, name), value);
	} else if (f->kind == IPC_blob) {
		*(struct view *)at = blob_value(value);
	} else {
		unescape(value);
		*(struct view *)at = view_str(value);
	}
}

static int
memfd_of(char *value)
{
	struct view v = blob_value(value);
	int fd = memfd_create("drive", MFD_CLOEXEC);

	if (fd < 0 || write(fd, v.p, v.n) != (ssize_t)v.n)
		die("memfd");
	return fd;
}

static void
cmd_send(struct drive *d, char **save)
{
	char *name = strtok_r(NULL, " ", save), *message = strtok_r(NULL, " ", save);
	const struct ipc_desc *desc = NULL;
	size_t count;
	const struct ipc_desc *const *all = ipc_all(&count);
	union any any;
	int fd = -1;

	if (name == NULL || message == NULL)
		die("send what?");
	for (size_t i = 0; i < count; i++)
		if (all[i]->type && !strcmp(all[i]->name, message))
			desc = all[i];
	if (desc == NULL)
		die("no such message");
	memset(&any, 0, sizeof(any));
	for (char *word; (word = strtok_r(NULL, " ", save)) != NULL;) {
		char *eq = strchr(word, '=');
		if (eq == NULL)
			die("a field without value");
		*eq = '\0';
		if (!strcmp(word, "!memfd"))
			fd = memfd_of(eq + 1);
		else if (!strcmp(word, "!fd"))
			fd = open(eq + 1, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		else
			set_field(desc, &any, word, eq + 1);
	}
	if (channel_send(&end_find(d, name)->ch, desc, &any, fd) < 0)
		die("the message cannot be sent");
}

static void
cmd_peer(struct drive *d, char **save)
{
	char *role = strtok_r(NULL, " ", save), *instance = strtok_r(NULL, " ", save);
	char *name = strtok_r(NULL, " ", save);
	unsigned r = 0;
	int fds[2];

	while (r < ROLES && role && strcmp(role_name(r), role) != 0)
		r++;
	if (r == ROLES || name == NULL || channel_pair(fds) < 0)
		die("peer who?");
	uint32_t n = (uint32_t)strtoul(instance, NULL, 10);
	end_new(d, name, fds[0], r, n);
	IPC_SEND_FD(&end_find(d, "master")->ch, fds[1], peer, .role = (uint8_t)r, .instance = n);
}

static void
cmd_admin(struct drive *d, char *name)
{
	int fds[2];

	if (channel_pair(fds) < 0)
		die("socketpair");
	end_new(d, name, fds[0], ROLE_MTACTL, 0);
	IPC_SEND_FD(&end_find(d, "master")->ch, fds[1], admin, .uid = 0, .pid = (uint32_t)getpid());
}

static void
cmd_pause(struct drive *d, struct end *end)
{
	end->paused_fd = end->ch.lf.fd;
	loop_del(d->loop, &end->ch.lf);
}

static void
cmd_resume(struct drive *d, struct end *end)
{
	end->ch.lf.fd = end->paused_fd;
	if (loop_add(d->loop, &end->ch.lf) < 0)
		die("resume");
}

static void
command(struct drive *d, char *line)
{
	char *save, *word = strtok_r(line, " ", &save);

	if (word == NULL)
		return;
	if (!strcmp(word, "send"))
		cmd_send(d, &save);
	else if (!strcmp(word, "peer"))
		cmd_peer(d, &save);
	else if (!strcmp(word, "admin") && (word = strtok_r(NULL, " ", &save)) != NULL)
		cmd_admin(d, word);
	else if (!strcmp(word, "pause") && (word = strtok_r(NULL, " ", &save)) != NULL)
		cmd_pause(d, end_find(d, word));
	else if (!strcmp(word, "resume") && (word = strtok_r(NULL, " ", &save)) != NULL)
		cmd_resume(d, end_find(d, word));
	else if (!strcmp(word, "close") && (word = strtok_r(NULL, " ", &save)) != NULL)
		channel_close(&end_find(d, word)->ch);
	else
		die("unknown command");
}

static void
on_input(struct loop_fd *lf, unsigned events)
{
	struct drive *d = CONTAINER(lf, struct drive, in_fd);
	ptrdiff_t at;

	(void)events;
	ssize_t n = read(lf->fd, buf_reserve(&d->in, 65536), 65536);
	if (n <= 0) {
		kill(d->child, SIGKILL);
		loop_stop(d->loop);
		return;
	}
	buf_commit(&d->in, (size_t)n);
	while ((at = view_index(buf_view(&d->in), '\n')) >= 0) {
		char *line = x_strndup(view_first(buf_view(&d->in), (size_t)at));
		buf_consume(&d->in, (size_t)at + 1);
		command(d, line);
		free(line);
	}
}

static void
on_child(void *ctx, int signo)
{
	struct drive *d = ctx;
	int status;

	(void)signo;
	if (waitpid(d->child, &status, WNOHANG) != d->child)
		return;
	printf("{\"on\":\"\",\"msg\":\"exit\",\"m\":{\"status\":%d,\"signal\":%d}}\n",
	    WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	fflush(stdout);
	loop_stop(d->loop);
}

static void
start(struct drive *d, char **argv)
{
	int fds[2];

	if (channel_pair(fds) < 0)
		die("socketpair");
	loop_signal(d->loop, SIGCHLD, on_child, d);
	d->child = fork();
	if (d->child == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (dup2(fds[1], 3) < 0 || close_range(4, ~0U, 0) < 0)
			_exit(126);
		fcntl(3, F_SETFD, 0);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	close(fds[1]);
	end_new(d, "master", fds[0], ROLE_MASTER, 0);
}

int
main(int argc, char **argv)
{
	static struct drive d;

	if (argc < 2)
		die("usage: drive PROGRAM");
	buf_init(&d.in, LINE_MAX_BYTES);
	d.loop = loop_new();
	start(&d, argv);
	d.in_fd = (struct loop_fd){ .fd = STDIN_FILENO, .ready = on_input };
	if (loop_add_level(d.loop, &d.in_fd, LOOP_READ) < 0)
		die("standard input is not a pipe");
	loop_run(d.loop);
	waitpid(d.child, NULL, 0);
	return 0;
}
