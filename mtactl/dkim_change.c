/* SPDX-License-Identifier: ISC */
/* `mtactl dkim`: what looks at the DNS, and what changes who signs. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/durable.h"
#include "mtactl/dkim.h"

enum { POLL_S = 5, MESSAGE_MAX = 256 << 20 };

/* The key that a command names; NULL: told. */
static struct dkim_entry *
named(const struct work *w)
{
	struct view domain = buf_view(&w->domain);
	struct dkim_entry *x = dkim_store_find(&w->store, domain, w->selector);

	if (x == NULL)
		complain("%.*s has no key with the selector %.*s; see mtactl dkim list",
		    (int)domain.n, domain.p, (int)w->selector.n, w->selector.p);
	return x;
}

/* The DNS. */

/* NULL: the record is there and right. */
static const char *
look_up(const struct work *w, const struct dkim_entry *x, const struct key_text *t, struct buf *record)
{
	switch (txt_lookup(w->c, buf_view(&t->name), record)) {
	case TXT_UNKNOWN:
		return "the name servers gave no answer";
	case TXT_NONE:
		return "there is no record";
	case TXT_FOUND:
		break;
	}
	return record->bad ? "there are several records at this name" :
			     record_problem(t, x, buf_view(record));
}

static bool
check_key(struct work *w, const struct dkim_entry *x)
{
	struct buf record = BUF_INIT(RECORD_MAX);
	struct key_text t;
	struct err e = { 0 };
	const char *why;

	if (key_text_read(&t, &w->store, x, &e) < 0)
		why = e.text;
	else
		why = look_up(w, x, &t, &record);
	if (why == NULL && probe(x, &t, buf_view(&record), &e) < 0)
		why = e.text;
	bool good = why == NULL || x->state == DKIM_PENDING;
	row_str(&w->row, "domain", x->domain);
	row_str(&w->row, "selector", x->selector);
	row_str(&w->row, "state", dkim_state_name(x->state));
	row_str(&w->row, "result", why == NULL ? "pass" : good ? "wait" : "fail");
	row_str(&w->row, "why", why ? why : "");
	row_text(&w->row, "name", buf_view(&t.name));
	row_text(&w->row, "record", buf_view(&t.record));
	row_end(&w->o, &w->row);
	key_text_free(&t);
	buf_free(&record);
	return good;
}

int
local_dkim_check(struct mtactl *m, const struct args *a)
{
	struct work w;
	int status = work_begin(&w, m, a, false, true);
	bool good = true, any = false;

	for (size_t i = 0; status == STATUS_DONE && i < w.store.n; i++)
		if (work_wants(&w, &w.store.v[i])) {
			any = true;
			good &= check_key(&w, &w.store.v[i]);
		}
	if (status == STATUS_DONE && !any)
		status = complain("there is no such key; see mtactl dkim list");
	return work_end(&w, status == STATUS_DONE && !good ? STATUS_FAILED : status);
}

/* Changes. */

/*
 * x signs from now on. Its probe must verify first: against the record that is published or, by force,
 * the one that should be.
 */
static int
activate(struct work *w, struct dkim_entry *x, bool force)
{
	struct buf record = BUF_INIT(RECORD_MAX);
	struct key_text t;
	struct err e;
	const char *why = NULL;
	int status = STATUS_DONE;

	if (key_text_read(&t, &w->store, x, &e) < 0) {
		status = complain("%s", e.text);
	} else if (!force && (why = look_up(w, x, &t, &record)) != NULL) {
		status = complain("%.*s: %s (publish the record of mtactl dkim show, or use --force)",
		    (int)buf_len(&t.name), buf_view(&t.name).p, why);
	} else if (probe(x, &t, force ? buf_view(&t.record) : buf_view(&record), &e) < 0) {
		status = complain("%s %s: %s", x->domain, x->selector, e.text);
	} else {
		dkim_store_activate(&w->store, x, work_now_s(), work_now_s() + w->c->dkim.publish);
		w->changed = true;
	}
	if (status == STATUS_DONE)
		work_put_key(w, x, &t);
	key_text_free(&t);
	buf_free(&record);
	return status;
}

int
local_dkim_activate(struct mtactl *m, const struct args *a)
{
	struct view force;
	struct work w;
	int status = work_begin(&w, m, a, true, false);
	struct dkim_entry *x = status == STATUS_DONE ? named(&w) : NULL;

	if (x && x->state == DKIM_ACTIVE)
		status = complain("%s %s is active already", x->domain, x->selector);
	else if (x)
		status = activate(&w, x, args_nth(a, "force", 0, &force));
	else
		status = STATUS_FAILED;
	return work_end(&w, status);
}

static struct dkim_entry *
find_state(const struct work *w, enum dkim_algorithm a, enum dkim_state state)
{
	for (size_t i = 0; i < w->store.n; i++) {
		struct dkim_entry *x = &w->store.v[i];
		if (view_is(buf_view(&w->domain), x->domain) && x->algorithm == a && x->state == state)
			return x;
	}
	return NULL;
}

/* One step of a rotation; *again: the record is not there yet. */
static int
rotate_step(struct work *w, const struct args *a, bool *again)
{
	enum dkim_algorithm algorithm;
	char selector[32];
	struct buf record = BUF_INIT(RECORD_MAX);
	struct key_text t;
	struct err e;
	int status = STATUS_DONE;

	*again = false;
	if (!work_algorithm(a, &algorithm))
		return STATUS_USAGE;
	work_retire(w);
	struct dkim_entry *x = find_state(w, algorithm, DKIM_PENDING);
	if (x == NULL) {
		work_free_selector(w, algorithm, selector);
		x = work_make_key(w, algorithm, selector, (unsigned)w->c->dkim.rsa_bits);
		*again = true;
		return x ? work_show_key(w, x) : STATUS_FAILED;
	}
	if (key_text_read(&t, &w->store, x, &e) < 0)
		status = complain("%s", e.text);
	else if (look_up(w, x, &t, &record) != NULL)
		*again = true;
	else
		status = activate(w, x, false);
	key_text_free(&t);
	buf_free(&record);
	return status;
}

int
local_dkim_rotate(struct mtactl *m, const struct args *a)
{
	struct view wait = args_get(a, "wait");
	uint64_t wait_s = 0;
	struct work w;
	bool again = true;
	int status = STATUS_DONE;

	if (wait.n && !conf_parse_duration(wait, &wait_s))
		return complain("wait: \"%.*s\" is not a duration", (int)wait.n, wait.p), STATUS_USAGE;
	/* The lock is held during a step only. */
	for (uint64_t end = work_now_s() + wait_s; status == STATUS_DONE && again;) {
		status = work_begin(&w, m, a, true, false);
		if (status == STATUS_DONE)
			status = rotate_step(&w, a, &again);
		status = work_end(&w, status);
		if (status != STATUS_DONE || !again)
			break;
		if (work_now_s() + POLL_S > end)
			return complain("the record is not there yet: publish it (mtactl dkim show), then "
					"run this again");
		sleep(POLL_S);
	}
	return status;
}

int
local_dkim_revoke(struct mtactl *m, const struct args *a)
{
	struct work w;
	int status = work_begin(&w, m, a, true, false);
	struct dkim_entry *x = status == STATUS_DONE ? named(&w) : NULL;
	struct buf name = BUF_INIT(DKIM_FILE_MAX), zone = BUF_INIT(RECORD_MAX);

	if (x == NULL)
		return work_end(&w, STATUS_FAILED);
	dkim_store_dns_name(x, &name);
	/* RFC 6376, 3.6.1: an empty key is a revoked one. */
	dkim_record_zone(buf_view(&name), VIEW("v=DKIM1; p="), &zone);
	row_str(&w.row, "domain", x->domain);
	row_str(&w.row, "selector", x->selector);
	row_str(&w.row, "state", "revoked");
	row_text(&w.row, "name", buf_view(&name));
	row_text(&w.row, "record", VIEW("v=DKIM1; p="));
	row_text(&w.row, "zone", buf_view(&zone));
	row_end(&w.o, &w.row);
	dkim_store_remove(&w.store, x);
	w.changed = true;
	buf_free(&name);
	buf_free(&zone);
	return work_end(&w, STATUS_DONE);
}

/* Verification of a saved message. */

static bool
on_lookup(void *ctx, struct view name, struct buf *out)
{
	const struct work *w = ctx;

	return txt_lookup(w->c, name, out) == TXT_FOUND;
}

static void
on_result(void *ctx, const struct signature_result *r)
{
	struct work *w = ctx;

	row_text(&w->row, "domain", r->domain);
	row_text(&w->row, "selector", r->selector);
	row_str(&w->row, "algorithm", r->algorithm);
	row_str(&w->row, "result", r->why ? "fail" : "pass");
	row_str(&w->row, "why", r->why ? r->why : "");
	row_end(&w->o, &w->row);
}

/* A file with LF at line ends is mail as it is stored; on the wire it has CRLF. */
static void
wire_form(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\n' && (i == 0 || v.p[i - 1] != '\r'))
			buf_putc(out, '\r');
		buf_putc(out, v.p[i]);
	}
}

static int
verify_file(struct work *w, const char *path)
{
	struct verifier v = { on_lookup, on_result, w };
	struct buf text = BUF_INIT(MESSAGE_MAX + (1 << 20)), message = BUF_INIT(2 * (size_t)MESSAGE_MAX);
	struct err e;
	int good = durable_read(AT_FDCWD, path, MESSAGE_MAX, &text, &e);

	if (good == 0) {
		wire_form(buf_view(&text), &message);
		good = verify_message(&v, buf_view(&message), &e);
	}
	if (good < 0)
		complain("%s", e.text);
	else if (good == 0)
		complain("%s: no good signature", path);
	buf_free(&text);
	buf_free(&message);
	return good > 0 ? STATUS_DONE : STATUS_FAILED;
}

int
local_dkim_verify(struct mtactl *m, const struct args *a)
{
	struct work w;
	int status = work_begin(&w, m, a, false, true);
	char *path = x_strndup(args_get(a, "file"));

	if (status == STATUS_DONE)
		status = verify_file(&w, path);
	free(path);
	return work_end(&w, status);
}
