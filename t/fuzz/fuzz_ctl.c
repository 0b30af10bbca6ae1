/* SPDX-License-Identifier: ISC */
/*
 * A control connection from master on: hostile frames reach the admin commands of authd (ATTACKS I4), which
 * answers with rows and ends that are valid, or closes the connection.
 */
#include "t/fuzz/frames.h"
#include "t/fuzz/libdb.h"

#define main daemon_main
#include "authd/authd.c"
#undef main

enum { COMMANDS_MAX = 64 };

/* The connection takes the place of a peer's channel. */
static void
serve(struct daemon *d, enum role role, uint32_t instance, int fd)
{
	(void)role, (void)instance;
	authd_admin(d, 1000, fd);
}

static struct view
command(struct view *in)
{
	size_t n = 0;

	while (n < COMMANDS_MAX && authd_commands[n].command)
		n++;
	return view_str(authd_commands[view_get_u8(in) % n].command);
}

/* A call of a command that there is, with arguments that mostly are some. */
static void
call(struct frames *f, struct view *in)
{
	static const char *const names[] = { "tenant", "name", "user", "domain", "key", "selector", "verified", "all",
		"file", "json", "secret", "value" };
	struct buf args = BUF_INIT(IPC_BULK_MAX);
	struct ipc_ctl_call m = { .command = command(in), .more = view_get_u8(in) > 230 };

	for (unsigned n = view_get_u8(in) % 6u; n--;) {
		struct view name = view_str(names[view_get_u8(in) % 12u]);
		uint8_t size = view_get_u8(in);
		struct view value = fuzz_take(in, size);
		IPC_RECORD(&args, ctl_arg, .name = name, .value = value);
	}
	m.args = buf_view(&args);
	frames_put(f, 0, &ipc_desc_ctl_call, &m, 0);
	frames_turns(f, 2);
	buf_free(&args);
}

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x0f, 0 };
	static const char *const folders[] = { NULL };
	static struct daemon_spec admin;
	static struct frames f = { .roles = { ROLE_MTACTL }, .count = 1, .types = types, .special = call };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		admin = spec;
		admin.peer = serve;
		frames_start(&f, &admin, "hostname fuzz.test\n");
	}
	frames_one(&f, in);
}
