/* SPDX-License-Identifier: ISC */
/* The commands that need no daemon. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/db.h"
#include "lib/json.h"
#include "master/generation.h"
#include "mtactl/mtactl.h"

enum { TEXT_MAX = 64 << 20 };

/* The argument as a C string, owned. */
static char *
arg_string(const struct args *a, const char *name)
{
	return x_strndup(args_get(a, name));
}

/* FILE.db, unless another name was given. */
static char *
map_path(const struct args *a)
{
	struct buf b = BUF_INIT(65536);
	struct view db = args_get(a, "db");

	if (db.n) {
		buf_putv(&b, db);
	} else {
		buf_putv(&b, args_get(a, "file"));
		buf_puts(&b, ".db");
	}
	char *path = x_strdup(buf_cstr(&b));
	buf_free(&b);
	return path;
}

int
local_map_build(struct mtactl *m, const struct args *a)
{
	char *text = arg_string(a, "file"), *db = map_path(a);
	struct buf out = BUF_INIT(65536);
	struct json j = JSON_INIT(&out);
	struct err e;
	uint64_t count;
	int status = STATUS_DONE;

	if (db_map_build(text, db, &count, &e) < 0) {
		status = complain("%s", e.text);
	} else if (m->json) {
		json_open(&j, NULL, '{');
		json_text(&j, "file", view_str(db));
		json_number(&j, "entries", count);
		json_close(&j, '}');
		buf_putc(&out, '\n');
	} else {
		buf_printf(&out, "%s: %llu entries\n", db, (unsigned long long)count);
	}
	if (!print(&out))
		status = STATUS_FAILED;
	free(text);
	free(db);
	buf_free(&out);
	return status;
}

int
local_map_query(struct mtactl *m, const struct args *a)
{
	char *path = map_path(a);
	struct buf value = BUF_INIT(65536), out = BUF_INIT(TEXT_MAX);
	struct json j = JSON_INIT(&out);
	struct err e;
	struct db_map *map = db_map_open(path, &e);
	int rc = map ? db_map_get(map, args_get(a, "key"), &value, &e) : -1;

	if (rc < 0) {
		complain("%s", e.text);
	} else if (rc > 0 && m->json) {
		json_open(&j, NULL, '{');
		json_text(&j, "key", args_get(a, "key"));
		json_text(&j, "value", buf_view(&value));
		json_close(&j, '}');
		buf_putc(&out, '\n');
	} else if (rc > 0) {
		buf_putv(&out, buf_view(&value));
		buf_putc(&out, '\n');
	}
	if (!print(&out))
		rc = -1;
	db_map_close(&map);
	free(path);
	buf_free(&value);
	buf_free(&out);
	return rc > 0 ? STATUS_DONE : STATUS_FAILED;
}

/* "file:line:column: text" as an object. */
static void
json_problem(struct buf *out, struct view line)
{
	struct json j = JSON_INIT(out);
	struct view rest = line, file = view_cut(&rest, ':');
	uint64_t at[2];

	json_open(&j, NULL, '{');
	for (;;) {
		struct view more = rest, number = view_cut(&more, ':'),
			    column = view_cut(&more, ':');
		if (view_u64(number, UINT32_MAX, &at[0]) && view_u64(column, UINT32_MAX, &at[1])) {
			json_text(&j, "file", file);
			json_number(&j, "line", at[0]);
			json_number(&j, "column", at[1]);
			rest = view_trim(more);
			break;
		}
		if (more.n == 0) {
			rest = line;
			break;
		}
		/* A colon in the name of the file. */
		number = view_cut(&rest, ':');
		file.n = (size_t)(number.p + number.n - file.p);
	}
	bool warning = view_starts(rest, "warning: ");
	json_bool(&j, "warning", warning);
	json_text(&j, "text", warning ? view_skip(rest, 9) : rest);
	json_close(&j, '}');
	buf_putc(out, '\n');
}

/* Problems of a configuration: for people on standard error. */
static bool
show_problems(const struct mtactl *m, const struct buf *problems)
{
	struct buf out = BUF_INIT(TEXT_MAX);

	for (struct view rest = buf_view(problems); rest.n;) {
		struct view line = view_cut(&rest, '\n');
		if (m->json)
			json_problem(&out, line);
		else
			complain("%.*s", (int)line.n, line.p);
	}
	bool good = print(&out);
	buf_free(&out);
	return good;
}

static bool
readable(const char *path)
{
	return access(path, R_OK) == 0 || errno == ENOENT;
}

/* Whoever may not look at the keys checks the rest. */
static bool
may_read_all(const struct conf *c)
{
	struct buf dkim = BUF_INIT(8192);
	bool good = readable(c->state_dir);

	buf_printf(&dkim, "%s/dkim", c->state_dir);
	good = good && readable(buf_cstr(&dkim));
	for (size_t i = 0; good && i < c->certificate_count; i++)
		good = readable(c->certificate[i].key);
	buf_free(&dkim);
	return good && (*c->relay_secret == '\0' || readable(c->relay_secret));
}

/* As a start or reload does it, without effects. */
static bool
check_config(const char *path, struct buf *problems)
{
	struct conf *c = conf_read_file(path, problems);
	bool good = c != NULL;

	if (good && may_read_all(c)) {
		buf_clear(problems);
		struct generation *g = generation_read(path, 1, problems);
		good = g != NULL;
		generation_free(&g);
	}
	conf_free(&c);
	return good;
}

int
local_config_check(struct mtactl *m, const struct args *a)
{
	struct buf problems = BUF_INIT(TEXT_MAX), out = BUF_INIT(65536);
	bool good = check_config(m->config, &problems);

	(void)a;
	if (!show_problems(m, &problems))
		good = false;
	if (good && !m->json)
		buf_printf(&out, "%s: no errors\n", m->config);
	if (!print(&out))
		good = false;
	buf_free(&problems);
	buf_free(&out);
	return good ? STATUS_DONE : STATUS_FAILED;
}

static void
json_directive(void *ctx, const char *name, struct view value)
{
	struct json j = JSON_INIT(ctx);

	json_open(&j, NULL, '{');
	json_text(&j, "name", view_str(name));
	json_text(&j, "value", value);
	json_close(&j, '}');
	buf_putc(ctx, '\n');
}

static bool
show_value(const struct mtactl *m, const struct conf *c, const char *name, struct buf *out)
{
	struct buf value = BUF_INIT(TEXT_MAX);
	bool found = conf_value(c, name, &value);

	if (!found) {
		complain("there is no directive \"%s\"; names are like hostname, retry.a or "
			 "\"listen mx.tls\"",
		    name);
	} else if (m->json) {
		json_directive(out, name, buf_view(&value));
	} else {
		buf_putv(out, buf_view(&value));
		buf_putc(out, '\n');
	}
	buf_free(&value);
	return found;
}

int
local_config_show(struct mtactl *m, const struct args *a)
{
	struct buf problems = BUF_INIT(TEXT_MAX), out = BUF_INIT(TEXT_MAX);
	struct conf *c = conf_read_file(m->config, &problems);
	char *name = arg_string(a, "name");
	struct view changed;
	bool all = !args_nth(a, "changed", 0, &changed), good = c != NULL;

	if (c == NULL)
		show_problems(m, &problems);
	else if (*name)
		good = show_value(m, c, name, &out);
	else if (m->json)
		conf_each(c, all, json_directive, &out);
	else
		conf_print(c, all, &out);
	if (!print(&out))
		good = false;
	conf_free(&c);
	free(name);
	buf_free(&problems);
	buf_free(&out);
	return good ? STATUS_DONE : STATUS_FAILED;
}

int
local_config_defaults(struct mtactl *m, const struct args *a)
{
	struct buf out = BUF_INIT(TEXT_MAX);

	(void)m;
	(void)a;
	conf_print_sample(&out);
	bool good = print(&out);
	buf_free(&out);
	return good ? STATUS_DONE : STATUS_FAILED;
}

int
local_version(struct mtactl *m, const struct args *a)
{
	struct buf out = BUF_INIT(256);
	struct json j = JSON_INIT(&out);

	(void)a;
	if (m->json) {
		json_open(&j, NULL, '{');
		json_text(&j, "version", VIEW(EKIDEN_VERSION));
		json_close(&j, '}');
		buf_putc(&out, '\n');
	} else {
		buf_puts(&out, "ekiden " EKIDEN_VERSION "\n");
	}
	bool good = print(&out);
	buf_free(&out);
	return good ? STATUS_DONE : STATUS_FAILED;
}

int
local_help(struct mtactl *m, const struct args *a)
{
	struct buf words = BUF_INIT(65536), out = BUF_INIT(TEXT_MAX);
	struct view word;
	bool good = true;

	(void)m;
	for (size_t i = 0; args_nth(a, "word", i, &word); i++) {
		buf_puts(&words, i ? " " : "");
		buf_putv(&words, word);
	}
	if (buf_len(&words) == 0)
		help_overview(&out);
	else
		good = help_group(buf_view(&words), &out);
	if (!good)
		complain("there is no command \"%s\"; see mtactl --help", buf_cstr(&words));
	bool printed = print(&out);
	buf_free(&words);
	buf_free(&out);
	return !good ? STATUS_USAGE : printed ? STATUS_DONE : STATUS_FAILED;
}
