/* SPDX-License-Identifier: ISC */
/* Commands with --yes: what a filter finds is counted, and nothing is changed before somebody has said so. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mtactl/mtactl.h"
#include "mtactl/output.h"

struct counted {
	uint64_t messages, recipients;
};

static void
on_count(void *ctx, struct view fields)
{
	struct counted *n = ctx;
	struct ipc_ctl_field f;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f))
		if (view_is(f.name, "messages"))
			view_u64(f.value, UINT64_MAX, &n->messages);
		else if (view_is(f.name, "recipients"))
			view_u64(f.value, UINT64_MAX, &n->recipients);
}

/* The same filter, as `queue count` takes it. */
static int
count(const struct mtactl *m, const struct args *a, struct counted *n)
{
	const struct command *command = command_find(VIEW("queue count"));
	struct arg_spec specs[ARGS_OF_COMMAND_MAX];
	size_t known = command_args(command, specs);
	struct buf records = BUF_INIT(ARGS_MAX);
	struct view rest = buf_view(&a->records);
	struct ipc_ctl_arg arg;
	struct output o;

	struct conf *c = load_config(m, false);
	if (c == NULL)
		return STATUS_FAILED;
	while (ipc_next(&ipc_desc_ctl_arg, &rest, &arg))
		for (size_t i = 0; i < known; i++)
			if (view_is(arg.name, specs[i].name))
				ipc_put(&records, &ipc_desc_ctl_arg, &arg);
	output_init(&o, false, false);
	o.capture = on_count;
	o.ctx = n;
	int status = client_call(c, command, &records, &o);
	output_end(&o);
	buf_free(&records);
	conf_free(&c);
	return status;
}

static bool
asks(const struct args *a)
{
	struct arg_spec specs[ARGS_OF_COMMAND_MAX];
	size_t n = command_args(a->command, specs);
	struct view v;

	if (args_nth(a, "id", 0, &v) || args_nth(a, "yes", 0, &v))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(specs[i].name, "yes"))
			return true;
	return false;
}

bool
confirmed(const struct mtactl *m, const struct args *a, int *status)
{
	struct counted n = { 0, 0 };
	char line[16];

	if (!asks(a))
		return true;
	*status = count(m, a, &n);
	if (*status != STATUS_DONE)
		return false;
	if (n.recipients == 0)
		return true;
	*status = STATUS_USAGE;
	if (!isatty(STDIN_FILENO)) {
		complain("%s: %" PRIu64 " recipients of %" PRIu64 " messages; nothing is changed without --yes",
		    a->command->name, n.recipients, n.messages);
		return false;
	}
	fprintf(stderr, "%s: %" PRIu64 " recipients of %" PRIu64 " messages. Go on? [y/N] ", a->command->name,
	    n.recipients, n.messages);
	if (fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y'))
		return true;
	complain("nothing is changed");
	*status = STATUS_FAILED;
	return false;
}
