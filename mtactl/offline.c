/* SPDX-License-Identifier: ISC */
/* authd's commands in this process, on authd's database, while authd does not run. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "authd/admin.h"
#include "lib/log.h"
#include "master/folders.h"
#include "mtactl/mtactl.h"
#include "mtactl/output.h"

enum { FRAMES_MAX = 1 << 30 };

/* What the admin changes is in the log, as when the suite runs; without one, on standard error. */
static void
open_log(const struct conf *c, const char *host)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd;

	log_init("ekiden/mtactl", host, LOG_LEVEL_INFO);
	if (*c->log.file) {
		fd = open(c->log.file, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0)
			log_open(fd, false);
		return;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		log_open(fd, true);
	else if (fd >= 0)
		close(fd);
}

/* The frames of a call, as the running daemon would have sent them. */
static int
show(struct view frames, struct output *o)
{
	struct ipc_ctl_row row;
	struct ipc_ctl_end end;
	int status = STATUS_FAILED;

	while (frames.n >= IPC_HEADER) {
		uint32_t len = view_get_u32(&frames);
		uint16_t type = view_get_u16(&frames);
		(void)view_get_u16(&frames);
		struct view body = view_get(&frames, len);
		if (type == IPC_TYPE_ctl_row && ipc_get(&ipc_desc_ctl_row, body, &row))
			output_row(o, row.fields);
		else if (type == IPC_TYPE_ctl_end && ipc_get(&ipc_desc_ctl_end, body, &end))
			status = finish_call(&end, o);
	}
	return status;
}

static int
run_in_store(const struct args *a, uint32_t uid, struct authd_store *store, struct output *o)
{
	struct buf frames = BUF_INIT(FRAMES_MAX);
	int status = STATUS_FAILED;

	if (ctl_run_as(uid, authd_commands, store, view_str(a->command->name),
		buf_view(&a->records), &frames) == 0 &&
	    !frames.bad)
		status = show(buf_view(&frames), o);
	else
		complain("%s: it cannot be done here", a->command->name);
	buf_wipe(&frames);
	buf_free(&frames);
	return status;
}

/* The database where the configuration says; before the first start its folders are made first. */
static struct authd_store *
open_store(const struct conf *c, struct err *e)
{
	struct authd_store *store = NULL;
	char *dir = home_of(c, ROLE_AUTHD);

	if (access(dir, F_OK) == 0 || errno != ENOENT || folders_prepare(c, e) == 0)
		store = store_open_offline(dir, e);
	free(dir);
	return store;
}

int
offline_run(struct mtactl *m, const struct args *a, struct output *o)
{
	char host[256] = "localhost";
	uint32_t uid = getuid(); /* before the store makes us its owner */
	struct authd_store *store;
	struct conf *c;
	struct err e;
	int status = STATUS_FAILED;

	if (a->command->role != ROLE_AUTHD) {
		complain("%s: --offline is for tenant, key and domain commands", a->command->name);
		return STATUS_USAGE;
	}
	if ((c = load_config(m, true)) == NULL)
		return STATUS_FAILED;
	gethostname(host, sizeof(host) - 1);
	open_log(c, host);
	if ((store = open_store(c, &e)) == NULL)
		complain("%s", e.text);
	else
		status = run_in_store(a, uid, store, o);
	store_close(&store);
	log_flush();
	conf_free(&c);
	return status;
}
