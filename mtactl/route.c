/* SPDX-License-Identifier: ISC */
/* mtactl route: what the queue manager says, and the live dialogue. */
#include <string.h>

#include "mtactl/mtactl.h"
#include "mtactl/output.h"

static const struct command route_find = {
#define COMMAND_OF(role, handler, name, args, doc) ROLE_##role, name, args, doc, NULL
	CTL_QMGR_OWN(COMMAND_OF)
};

/* Field of the answer, argument of the dialogue. */
static const struct {
	const char *field, *arg;
} passed[] = { { "nexthop", "nexthop" }, { "port", "port" }, { "tls_policy", "tls" }, { "address4", "source" },
	{ "address6", "source6" }, { "helo", "helo" }, { "auth", "auth" } };

struct answer {
	struct buf fields; /* the row */
	bool there;
};

static void
keep(void *ctx, struct view fields)
{
	struct answer *a = ctx;

	a->there = true;
	buf_clear(&a->fields);
	buf_putv(&a->fields, fields);
}

static void
pass(const struct ipc_ctl_field *f, struct buf *records)
{
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		if (view_is(f->name, passed[i].field) && f->value.n)
			IPC_RECORD(records, ctl_arg, .name = view_str(passed[i].arg), .value = f->value);
	if (view_is(f->name, "mx") && view_is(f->value, "1"))
		IPC_RECORD(records, ctl_arg, .name = VIEW("mx"), .value = VIEW(""));
}

static int
talk(const struct mtactl *m, const struct conf *c, struct view fields)
{
	struct buf records = BUF_INIT(ARGS_MAX);
	struct ipc_ctl_field f;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f))
		pass(&f, &records);
	int status = dialogue_show(m, c, &records);
	buf_free(&records);
	return status;
}

static int
ask(struct mtactl *m, const struct conf *c, const struct args *a, struct answer *answer)
{
	struct output o, shown;

	output_init(&o, m->json, false);
	o.capture = keep;
	o.ctx = answer;
	int status = client_call(c, &route_find, &a->records, &o);
	if (!output_end(&o))
		status = STATUS_FAILED;
	if (!answer->there)
		return status;
	output_init(&shown, m->json, false);
	output_row(&shown, buf_view(&answer->fields));
	return output_end(&shown) ? status : STATUS_FAILED;
}

int
local_route(struct mtactl *m, const struct args *a)
{
	struct answer answer = { .fields = BUF_INIT(IPC_FRAME_MAX) };
	struct conf *c;
	struct view v;

	if (m->offline) {
		complain("route needs the running suite");
		return STATUS_USAGE;
	}
	if ((c = load_config(m, false)) == NULL)
		return STATUS_FAILED;
	int status = ask(m, c, a, &answer);
	if (status == STATUS_DONE && args_nth(a, "connect", 0, &v))
		status = talk(m, c, buf_view(&answer.fields));
	buf_free(&answer.fields);
	conf_free(&c);
	return status;
}
