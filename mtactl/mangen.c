/* SPDX-License-Identifier: ISC */
/*
 * mangen PAGE: a manual page or the sample configuration on standard output. A page is its template
 * (standard input) with the line "@DIRECTIVES@" or "@COMMANDS@" replaced by what the tables say.
 */
#include <stdio.h>
#include <string.h>

#include "mtactl/mtactl.h"

enum { PAGE_MAX = 16 << 20 };

static void
expand(FILE *in, struct buf *out)
{
	char line[4096];

	while (fgets(line, sizeof(line), in))
		if (!strcmp(line, "@DIRECTIVES@\n"))
			conf_print_man(out);
		else if (!strcmp(line, "@COMMANDS@\n"))
			help_man(out);
		else
			buf_puts(out, line);
}

int
main(int argc, char **argv)
{
	struct buf out = BUF_INIT(PAGE_MAX);

	if (argc == 2 && !strcmp(argv[1], "sample")) {
		conf_print_sample(&out);
	} else if (argc == 2 && !strcmp(argv[1], "man")) {
		expand(stdin, &out);
	} else {
		complain("usage: mangen sample | mangen man <TEMPLATE");
		return STATUS_USAGE;
	}
	bool good = print(&out);
	buf_free(&out);
	return good ? STATUS_DONE : STATUS_FAILED;
}
