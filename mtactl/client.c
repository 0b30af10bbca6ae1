/* SPDX-License-Identifier: ISC */
/* The running suite: master hands the connection over to the daemon asked for. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/channel.h"
#include "mtactl/mtactl.h"
#include "mtactl/output.h"

/* A daemon answers the connection at once; a command may have to wait for the world. */
enum { GREETING_TIMEOUT_S = 30, ANSWER_TIMEOUT_S = 900 };

static void
set_timeout(int sock, time_t seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* The socket, or -1 with errno. */
static int
dial_quietly(const struct conf *c, struct sockaddr_un *to)
{
	int n = snprintf(to->sun_path, sizeof(to->sun_path), "%s/control", c->run_dir);

	to->sun_family = AF_UNIX;
	if (n < 0 || (size_t)n >= sizeof(to->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock >= 0)
		set_timeout(sock, GREETING_TIMEOUT_S);
	if (sock >= 0 && connect(sock, (struct sockaddr *)to, sizeof(*to)) == 0)
		return sock;
	int error = errno;
	if (sock >= 0)
		close(sock);
	errno = error;
	return -1;
}

bool
client_reachable(const struct conf *c)
{
	struct sockaddr_un to;
	int sock = dial_quietly(c, &to);

	if (sock >= 0)
		close(sock);
	return sock >= 0;
}

/* The socket, or -1: told. */
static int
dial(const struct conf *c)
{
	struct sockaddr_un to;
	int sock = dial_quietly(c, &to);

	if (sock >= 0)
		return sock;
	if (errno == ENAMETOOLONG)
		complain("run-dir %s is too long for a socket", c->run_dir);
	else if (errno == ENOENT || errno == ENOTDIR || errno == ECONNREFUSED)
		complain("ekiden is not running (no control socket at %s); "
			 "use --offline for tenant, key and domain commands",
		    to.sun_path);
	else
		complain("%s: %s", to.sun_path, strerror(errno));
	return -1;
}

/* The result of a call: its text is for people, on standard error when it is a failure. */
int
finish_call(const struct ipc_ctl_end *end, struct output *o)
{
	if (end->text.n && end->status != STATUS_DONE) {
		complain("%.*s", (int)end->text.n, end->text.p);
	} else if (end->text.n && !o->json) {
		buf_putv(&o->out, end->text);
		buf_putc(&o->out, '\n');
	}
	return end->status <= STATUS_USAGE ? end->status : STATUS_FAILED;
}

static int
broken(const struct command *c, const char *why)
{
	return complain("%s answered what is no answer (%s); is it of another version?",
	    role_name(c->role), why);
}

static int
lost(const struct command *c, const struct err *e, int seconds)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return complain("%s: no answer within %d seconds", role_name(c->role), seconds);
	return complain("%s: %s", role_name(c->role), e->text);
}

int
client_frame(int sock, const struct command *c, struct buf *store, struct output *o)
{
	struct ipc_ctl_end end;
	struct ipc_ctl_row row;
	struct view body;
	struct err e;
	uint16_t type;
	int fd;

	errno = 0;
	if (channel_sync_recv(sock, store, &type, &body, &fd, &e) < 0)
		return lost(c, &e, ANSWER_TIMEOUT_S);
	if (fd >= 0)
		close(fd);
	if (type == IPC_TYPE_ctl_row && ipc_get(&ipc_desc_ctl_row, body, &row) &&
	    output_row(o, row.fields))
		return o->failed ? STATUS_FAILED : -1;
	if (type == IPC_TYPE_ctl_end && ipc_get(&ipc_desc_ctl_end, body, &end))
		return finish_call(&end, o);
	return broken(c, "a bad frame");
}

/* Frames up to the end of the call. */
static int
read_answer(int sock, const struct command *c, struct output *o)
{
	struct buf store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER);
	int status;

	do
		status = client_frame(sock, c, &store, o);
	while (status < 0);
	buf_wipe(&store);
	buf_free(&store);
	return status;
}

/*
 * Asks master for the daemon and waits for the daemon's greeting: only then may more be sent, since
 * what master read too much would be lost. -1: ready for the call; else the exit status.
 */
static int
greet(int sock, const struct command *c, uint32_t instance, struct output *o)
{
	struct ipc_hello hello = { .digest = ipc_digest() };
	struct ipc_ctl_open open = { .role = (uint8_t)c->role, .instance = instance };
	struct buf store = BUF_INIT(IPC_FRAME_MAX + IPC_HEADER);
	struct ipc_ctl_end end;
	struct view body;
	struct err e;
	uint16_t type;
	int fd, status = -1;

	errno = 0;
	if (channel_sync_send(sock, &ipc_desc_hello, &hello, -1, &e) < 0 ||
	    channel_sync_send(sock, &ipc_desc_ctl_open, &open, -1, &e) < 0)
		status = complain("%s: %s", role_name(c->role), e.text);
	else if (channel_sync_recv(sock, &store, &type, &body, &fd, &e) < 0)
		status = errno == EAGAIN ?
			     lost(c, &e, GREETING_TIMEOUT_S) :
			     complain("the suite refused the connection: only root and "
				      "its own user may ask, with mtactl of the same version");
	else if (fd >= 0)
		status = broken(c, "a descriptor");
	else if (type == IPC_TYPE_ctl_end && ipc_get(&ipc_desc_ctl_end, body, &end))
		status = finish_call(&end, o);
	else if (type != IPC_TYPE_hello || !ipc_get(&ipc_desc_hello, body, &hello) ||
		 hello.digest != ipc_digest())
		status = complain("the running suite is of another version; restart it");
	buf_free(&store);
	return status;
}

/* Takes whole records, as many as fit into a frame. */
static struct view
next_part(struct view *records)
{
	struct view rest = *records, before = rest;
	struct ipc_ctl_arg arg;

	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg)) {
		if ((size_t)(rest.p - records->p) > IPC_BULK_MAX)
			break;
		before = rest;
	}
	struct view part = view_first(*records, records->n - before.n);
	*records = before;
	return part;
}

static int
send_call(int sock, const struct command *command, struct view rest, struct err *e)
{
	struct ipc_hello hello = { .digest = ipc_digest() };
	struct ipc_ctl_call call = { .command = view_str(command->name), .args = next_part(&rest) };

	call.more = rest.n > 0;
	if (channel_sync_send(sock, &ipc_desc_hello, &hello, -1, e) < 0 ||
	    channel_sync_send(sock, &ipc_desc_ctl_call, &call, -1, e) < 0)
		return -1;
	while (rest.n) {
		struct ipc_ctl_args more = { .args = next_part(&rest) };
		more.more = rest.n > 0;
		if (channel_sync_send(sock, &ipc_desc_ctl_args, &more, -1, e) < 0)
			return -1;
	}
	return 0;
}

int
client_begin(const struct conf *c, const struct command *command, uint32_t instance,
    const struct buf *records, struct output *o, int *sock)
{
	struct err e;
	int status;

	*sock = dial(c);
	if (*sock < 0)
		return STATUS_FAILED;
	status = greet(*sock, command, instance, o);
	if (status >= 0) {
		close(*sock);
		return status;
	}
	set_timeout(*sock, ANSWER_TIMEOUT_S);
	/* Who does not take the call has said why, or ended: reading tells. */
	send_call(*sock, command, buf_view(records), &e);
	return -1;
}

int
client_call(const struct conf *c, const struct command *command, const struct buf *records,
    struct output *o)
{
	int sock, status = client_begin(c, command, 0, records, o, &sock);

	if (status >= 0)
		return status;
	status = read_answer(sock, command, o);
	close(sock);
	return status;
}

int
client_run(struct mtactl *m, const struct args *a, struct output *o)
{
	struct conf *c = load_config(m, false);

	if (c == NULL)
		return STATUS_FAILED;
	int status = client_call(c, a->command, &a->records, o);
	conf_free(&c);
	return status;
}

int
call_daemon(struct mtactl *m, const struct args *a, struct output *o)
{
	return m->offline ? offline_run(m, a, o) : client_run(m, a, o);
}
