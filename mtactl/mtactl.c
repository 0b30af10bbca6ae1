/* SPDX-License-Identifier: ISC */
/*
 * mtactl: the admin's command. What it can do is a table (command.h, lib/ctl_schema.h); who does it
 * is a daemon of the running suite (client.c), mtactl in authd's place (offline.c) or mtactl
 * (local.c).
 */
#include <locale.h>
#include <signal.h>
#include <time.h>

#include "lib/regex.h"
#include "mtactl/mtactl.h"
#include "mtactl/output.h"

/* --help and --version, wherever they stand. false: neither. */
static bool
answer_questions(struct mtactl *m, const struct args *a, int *status)
{
	struct buf out = BUF_INIT(1 << 20);

	if (a->version) {
		*status = local_version(m, a);
		return true;
	}
	if (!a->help)
		return false;
	if (a->command)
		help_command(a->command, &out);
	else if (a->words[0])
		help_group(view_str(a->words), &out);
	else
		help_overview(&out);
	*status = print(&out) ? STATUS_DONE : STATUS_FAILED;
	buf_free(&out);
	return true;
}

static int
usage_error(const struct args *a, const struct err *e)
{
	struct buf usage = BUF_INIT(8192);

	complain("%s", e->text);
	if (a->command) {
		buf_puts(&usage, "usage: ");
		help_usage(a->command, &usage);
		complain_raw(&usage);
	} else if (a->words[0] == '\0') {
		buf_puts(&usage, "usage: mtactl [-c FILE] [-j] [--offline] COMMAND [ARGUMENT...]\n"
				 "see mtactl --help\n");
		complain_raw(&usage);
	}
	buf_free(&usage);
	return STATUS_USAGE;
}

static int
call_print(struct mtactl *m, const struct args *a)
{
	struct output o;

	output_init(&o, m->json, command_lists(a->command));
	int status = call_daemon(m, a, &o);
	return output_end(&o) ? status : STATUS_FAILED;
}

static int
run(struct mtactl *m, const struct args *a)
{
	struct view id;
	int status;

	if (answer_questions(m, a, &status))
		return status;
	if (a->command->run)
		return a->command->run(m, a);
	/* An empty list on standard input asks for nothing, never for everything. */
	if (a->from_stdin && !args_nth(a, "id", 0, &id))
		return STATUS_DONE;
	return confirmed(m, a, &status) ? call_print(m, a) : status;
}

int
main(int argc, char **argv)
{
	struct mtactl m = { .config = EKIDEN_CONFDIR "/ekiden.conf" };
	struct args a;
	struct err e;

	setlocale(LC_TIME, "C");
	tzset();
	signal(SIGPIPE, SIG_IGN);
	conf_regex_check = regex_check;
	int status = args_parse(&a, &m, argc, argv, &e) < 0 ? usage_error(&a, &e) : run(&m, &a);
	args_free(&a);
	return status;
}
