/* SPDX-License-Identifier: ISC */
/* mtactl source check: A, PTR and the name in EHLO agree (E1), as the suite's resolver sees it. */
#include <stdio.h>
#include <string.h>

#include "mtactl/mtactl.h"
#include "mtactl/output.h"

struct answer {
	char status[32], name[256];
};

static void
keep(char *out, size_t size, struct view v)
{
	snprintf(out, size, "%.*s", (int)v.n, v.p);
}

static void
on_row(void *ctx, struct view fields)
{
	struct answer *a = ctx;
	struct ipc_ctl_field f;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f))
		if (view_is(f.name, "status"))
			keep(a->status, sizeof(a->status), f.value);
		else if (view_is(f.name, "name"))
			keep(a->name, sizeof(a->name), f.value);
}

static int
look_up(const struct conf *c, const char *address, struct answer *a)
{
	struct buf records = BUF_INIT(256);
	struct output o;

	*a = (struct answer){ .status = "" };
	IPC_RECORD(&records, ctl_arg, .name = VIEW("address"), .value = view_str(address));
	output_init(&o, false, false);
	o.capture = on_row;
	o.ctx = a;
	int status = client_call(c, command_find(VIEW("dns ptr")), &records, &o);
	output_end(&o);
	buf_free(&records);
	return status;
}

static const char *
judge(const struct answer *a, const char *helo)
{
	if (strcmp(a->status, "found") != 0)
		return *a->status ? a->status : "no answer";
	return view_iis(view_str(a->name), helo) ? "good" : "another name";
}

/* One address; false: they do not agree. */
static bool
check(const struct conf *c, const struct conf_source *s, const char *address, struct output *o)
{
	const char *helo = *s->helo ? s->helo : c->hostname;
	struct buf row = BUF_INIT(IPC_BULK_MAX);
	struct answer a;

	look_up(c, address, &a);
	const char *verdict = judge(&a, helo);
	row_str(&row, "source", s->name);
	row_str(&row, "address", address);
	row_str(&row, "helo", helo);
	row_str(&row, "ptr", a.name);
	row_str(&row, "verdict", verdict);
	row_end(o, &row);
	buf_free(&row);
	return !strcmp(verdict, "good");
}

static int
check_all(const struct conf *c, struct view name, struct output *o)
{
	int status = STATUS_DONE;
	size_t met = 0;

	for (size_t i = 0; i < c->source_count; i++) {
		const struct conf_source *s = &c->source[i];
		if (name.n && !view_is(name, s->name))
			continue;
		met++;
		for (size_t k = 0; k < s->address.n; k++)
			if (!check(c, s, s->address.v[k], o))
				status = STATUS_FAILED;
	}
	if (met == 0 && name.n)
		return complain("there is no source \"%.*s\"", (int)name.n, name.p);
	return status;
}

int
local_source_check(struct mtactl *m, const struct args *a)
{
	struct output o;
	struct conf *c;

	if (m->offline) {
		complain("source check needs the running suite");
		return STATUS_USAGE;
	}
	if ((c = load_config(m, false)) == NULL)
		return STATUS_FAILED;
	output_init(&o, m->json, true);
	int status = check_all(c, args_get(a, "source"), &o);
	if (!output_end(&o))
		status = STATUS_FAILED;
	conf_free(&c);
	return status;
}
