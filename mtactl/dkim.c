/* SPDX-License-Identifier: ISC */
/*
 * `mtactl dkim`: makes, lists and changes the keys in state-dir/dkim (lib/dkim_store.h), then has the running
 * suite take them. A key's life: pending -> active -> retiring -> gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/durable.h"
#include "master/folders.h"
#include "mtactl/dkim.h"

enum { POLL_S = 5, MESSAGE_MAX = 256 << 20 };

/* One command. */
struct work {
	struct conf *c;
	struct dkim_store store;
	struct output o;
	struct buf row, domain; /* domain: the canonical one, or empty */
	struct view selector;
	bool changed;
};

/* Before the first start of the suite there is none. */
static int
make_folder(const struct conf *c, struct err *e)
{
	struct buf path = BUF_INIT(8192);

	buf_printf(&path, "%s/dkim", c->state_dir);
	int rc = access(buf_cstr(&path), F_OK) < 0 && errno == ENOENT ? folders_prepare(c, e) : 0;
	buf_free(&path);
	return rc;
}

static int
work_begin(struct work *w, const struct mtactl *m, const struct args *a, bool change, bool list)
{
	struct view domain = args_get(a, "domain");
	struct err e;

	*w = (struct work){ .store.dir = -1, .row = BUF_INIT(IPC_BULK_MAX), .domain = BUF_INIT(1024),
		.selector = args_get(a, "selector") };
	output_init(&w->o, m->json, list);
	if (domain.n && !domain_canonical(domain, &w->domain))
		return complain("\"%.*s\" is not a domain", (int)domain.n, domain.p);
	w->c = load_config(m, false);
	if (w->c == NULL)
		return STATUS_FAILED;
	if ((change && make_folder(w->c, &e) < 0) ||
	    dkim_store_open(&w->store, w->c->state_dir, change, &e) < 0)
		return complain("%s", e.text);
	return STATUS_DONE;
}

/* The running suite reads the keys; one that does not run will when it starts. */
static int
tell_suite(const struct work *w)
{
	struct buf none = BUF_INIT(1);
	struct output o;

	if (!client_reachable(w->c))
		return STATUS_DONE;
	output_init(&o, false, false);
	int status = client_call(w->c, command_find(VIEW("dkim reload")), &none, &o);
	output_end(&o);
	buf_free(&none);
	if (status != STATUS_DONE)
		complain("the key is changed on disk, but the running suite did not take it; "
			 "then run: mtactl dkim reload");
	return status;
}

static int
work_end(struct work *w, int status)
{
	if (w->changed) {
		struct err e;
		if (dkim_store_save(&w->store, &e) < 0)
			status = complain("%s", e.text);
		else if (tell_suite(w) != STATUS_DONE)
			status = STATUS_FAILED;
	}
	dkim_store_close(&w->store);
	conf_free(&w->c);
	buf_free(&w->row);
	buf_free(&w->domain);
	return output_end(&w->o) ? status : STATUS_FAILED;
}

static uint64_t
now_s(void)
{
	return (uint64_t)time(NULL);
}

static bool
wanted(const struct work *w, const struct dkim_entry *x)
{
	return (buf_len(&w->domain) == 0 || view_is(buf_view(&w->domain), x->domain)) &&
	    (w->selector.n == 0 || view_is(w->selector, x->selector));
}

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

static void
put_key(struct work *w, const struct dkim_entry *x, const struct key_text *t)
{
	struct buf zone = BUF_INIT(2 * RECORD_MAX);

	dkim_record_zone(buf_view(&t->name), buf_view(&t->record), &zone);
	row_str(&w->row, "domain", x->domain);
	row_str(&w->row, "selector", x->selector);
	row_str(&w->row, "algorithm", dkim_algorithm_name(x->algorithm));
	row_number(&w->row, "bits", t->bits);
	row_str(&w->row, "state", dkim_state_name(x->state));
	row_time(&w->row, "made", x->made_s);
	row_time(&w->row, "since", x->since_s);
	row_time(&w->row, "publish_until", x->until_s);
	row_text(&w->row, "name", buf_view(&t->name));
	row_text(&w->row, "record", buf_view(&t->record));
	row_text(&w->row, "zone", buf_view(&zone));
	row_end(&w->o, &w->row);
	buf_free(&zone);
}

static int
show_key(struct work *w, const struct dkim_entry *x)
{
	struct key_text t;
	struct err e;
	int status = STATUS_DONE;

	if (key_text_read(&t, &w->store, x, &e) < 0)
		status = complain("%s", e.text);
	else
		put_key(w, x, &t);
	key_text_free(&t);
	return status;
}

/* New keys. */

/* r20261126, r20261126b, ...: of the day, and free. */
static void
free_selector(const struct work *w, enum dkim_algorithm a, char out[static 32])
{
	time_t t = time(NULL);
	char day[16];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(day, sizeof(day), "%Y%m%d", &tm);
	for (char more = 'a'; more <= 'z'; more++) {
		snprintf(out, 32, "%c%s%.1s", a == DKIM_RSA_SHA256 ? 'r' : 'e', day,
		    more == 'a' ? "" : &more);
		if (dkim_store_find(&w->store, buf_view(&w->domain), view_str(out)) == NULL)
			return;
	}
}

/* NULL: told. */
static struct dkim_entry *
make_key(struct work *w, enum dkim_algorithm a, const char *selector, unsigned bits)
{
	struct buf pem = BUF_INIT(DKIM_PEM_MAX);
	struct dkim_entry x = { .domain = x_strndup(buf_view(&w->domain)), .algorithm = a,
		.selector = x_strdup(selector), .state = DKIM_PENDING, .made_s = now_s(),
		.since_s = now_s() };
	struct err e;
	bool good = dkim_key_make(a, bits, &pem, &e) == 0 &&
	    dkim_store_add(&w->store, &x, buf_view(&pem), &e) == 0;

	if (!good)
		complain("%s", e.text);
	w->changed |= good;
	buf_wipe(&pem);
	buf_free(&pem);
	free(x.domain);
	free(x.selector);
	return good ? &w->store.v[w->store.n - 1] : NULL;
}

/* An option of the command; false: told. */
static bool
algorithm_option(const struct args *a, enum dkim_algorithm *out)
{
	struct view v = args_get(a, "algorithm");

	*out = DKIM_RSA_SHA256;
	if (v.n == 0 || dkim_algorithm_parse(v, out))
		return true;
	complain("algorithm: \"%.*s\" is not rsa-sha256 or ed25519-sha256", (int)v.n, v.p);
	return false;
}

static int
new_key(struct work *w, const struct args *a)
{
	struct view bits = args_get(a, "bits");
	enum dkim_algorithm algorithm;
	char selector[32];
	uint64_t n = w->c->dkim.rsa_bits;

	if (!algorithm_option(a, &algorithm))
		return STATUS_USAGE;
	if (bits.n && !view_u64(bits, DKIM_RSA_BITS_MOST, &n))
		return complain("bits: not a number up to %d", DKIM_RSA_BITS_MOST), STATUS_USAGE;
	if (algorithm == DKIM_RSA_SHA256 && n < w->c->dkim.rsa_bits)
		return complain("%" PRIu64 " bits are less than dkim rsa-bits (%" PRIu64 ") allows", n,
		    w->c->dkim.rsa_bits);
	char *given = x_strndup(w->selector);
	free_selector(w, algorithm, selector);
	struct dkim_entry *x = make_key(w, algorithm, *given ? given : selector, (unsigned)n);
	free(given);
	return x ? show_key(w, x) : STATUS_FAILED;
}

int
local_dkim_new(struct mtactl *m, const struct args *a)
{
	struct work w;
	int status = work_begin(&w, m, a, true, false);

	return work_end(&w, status == STATUS_DONE ? new_key(&w, a) : status);
}

/* What is there. */

struct count {
	uint64_t messages;
};

static void
on_count(void *ctx, struct view fields)
{
	struct count *n = ctx;
	struct ipc_ctl_field f;

	while (ipc_next(&ipc_desc_ctl_field, &fields, &f))
		if (view_is(f.name, "messages"))
			view_u64(f.value, UINT64_MAX, &n->messages);
}

/* Is mail in the queue that came before that moment? Without a suite to ask: perhaps. */
static bool
queue_has_older(const struct work *w, uint64_t than_s)
{
	struct count n = { 1 };
	struct buf args = BUF_INIT(256);
	struct output o;
	char age[32];

	if (!client_reachable(w->c))
		return true;
	output_init(&o, false, false);
	o.capture = on_count;
	o.ctx = &n;
	snprintf(age, sizeof(age), "%" PRIu64 "s", now_s() - than_s);
	IPC_RECORD(&args, ctl_arg, .name = VIEW("age"), .value = view_str(age));
	client_call(w->c, command_find(VIEW("queue count")), &args, &o);
	output_end(&o);
	buf_free(&args);
	return n.messages > 0;
}

/* Keys that were replaced go when their time is over and the last message that they signed has left. */
static void
retire(struct work *w)
{
	for (size_t i = 0; i < w->store.n;) {
		struct dkim_entry *x = &w->store.v[i];
		if (x->state != DKIM_RETIRING || now_s() < x->until_s ||
		    queue_has_older(w, x->since_s)) {
			i++;
			continue;
		}
		complain("%s %s is retired: its record may be removed", x->domain, x->selector);
		dkim_store_remove(&w->store, x);
		w->changed = true;
	}
}

int
local_dkim_list(struct mtactl *m, const struct args *a)
{
	struct work w;
	int status = work_begin(&w, m, a, false, true);

	/* Looking changes nothing unless something is due. */
	for (size_t i = 0; status == STATUS_DONE && i < w.store.n; i++)
		if (w.store.v[i].state == DKIM_RETIRING && now_s() >= w.store.v[i].until_s) {
			work_end(&w, status);
			status = work_begin(&w, m, a, true, true);
			if (status == STATUS_DONE)
				retire(&w);
			break;
		}
	for (size_t i = 0; status == STATUS_DONE && i < w.store.n; i++) {
		const struct dkim_entry *x = &w.store.v[i];
		if (!wanted(&w, x))
			continue;
		row_str(&w.row, "domain", x->domain);
		row_str(&w.row, "selector", x->selector);
		row_str(&w.row, "algorithm", dkim_algorithm_name(x->algorithm));
		row_str(&w.row, "state", dkim_state_name(x->state));
		row_time(&w.row, "since", x->since_s);
		row_time(&w.row, "publish_until", x->until_s);
		row_end(&w.o, &w.row);
	}
	return work_end(&w, status);
}

int
local_dkim_show(struct mtactl *m, const struct args *a)
{
	struct work w;
	int status = work_begin(&w, m, a, false, false);
	bool any = false;

	for (size_t i = 0; status == STATUS_DONE && i < w.store.n; i++)
		if (wanted(&w, &w.store.v[i])) {
			any = true;
			status = show_key(&w, &w.store.v[i]);
		}
	if (status == STATUS_DONE && !any)
		status = complain("there is no such key; see mtactl dkim list");
	return work_end(&w, status);
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
		if (wanted(&w, &w.store.v[i])) {
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
		dkim_store_activate(&w->store, x, now_s(), now_s() + w->c->dkim.publish);
		w->changed = true;
	}
	if (status == STATUS_DONE)
		put_key(w, x, &t);
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
	if (!algorithm_option(a, &algorithm))
		return STATUS_USAGE;
	retire(w);
	struct dkim_entry *x = find_state(w, algorithm, DKIM_PENDING);
	if (x == NULL) {
		free_selector(w, algorithm, selector);
		x = make_key(w, algorithm, selector, (unsigned)w->c->dkim.rsa_bits);
		*again = true;
		return x ? show_key(w, x) : STATUS_FAILED;
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
	for (uint64_t end = now_s() + wait_s; status == STATUS_DONE && again;) {
		status = work_begin(&w, m, a, true, false);
		if (status == STATUS_DONE)
			status = rotate_step(&w, a, &again);
		status = work_end(&w, status);
		if (status != STATUS_DONE || !again)
			break;
		if (now_s() + POLL_S > end)
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
