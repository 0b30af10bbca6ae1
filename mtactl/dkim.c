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

int
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

int
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

uint64_t
work_now_s(void)
{
	return (uint64_t)time(NULL);
}

bool
work_wants(const struct work *w, const struct dkim_entry *x)
{
	return (buf_len(&w->domain) == 0 || view_is(buf_view(&w->domain), x->domain)) &&
	    (w->selector.n == 0 || view_is(w->selector, x->selector));
}

void
work_put_key(struct work *w, const struct dkim_entry *x, const struct key_text *t)
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

int
work_show_key(struct work *w, const struct dkim_entry *x)
{
	struct key_text t;
	struct err e;
	int status = STATUS_DONE;

	if (key_text_read(&t, &w->store, x, &e) < 0)
		status = complain("%s", e.text);
	else
		work_put_key(w, x, &t);
	key_text_free(&t);
	return status;
}

/* New keys. */

/* r20261126, r20261126b, ...: of the day, and free. */
void
work_free_selector(const struct work *w, enum dkim_algorithm a, char out[static 32])
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
struct dkim_entry *
work_make_key(struct work *w, enum dkim_algorithm a, const char *selector, unsigned bits)
{
	struct buf pem = BUF_INIT(DKIM_PEM_MAX);
	struct dkim_entry x = { .domain = x_strndup(buf_view(&w->domain)), .algorithm = a,
		.selector = x_strdup(selector), .state = DKIM_PENDING, .made_s = work_now_s(),
		.since_s = work_now_s() };
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
bool
work_algorithm(const struct args *a, enum dkim_algorithm *out)
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

	if (!work_algorithm(a, &algorithm))
		return STATUS_USAGE;
	if (bits.n && !view_u64(bits, DKIM_RSA_BITS_MOST, &n))
		return complain("bits: not a number up to %d", DKIM_RSA_BITS_MOST), STATUS_USAGE;
	if (algorithm == DKIM_RSA_SHA256 && n < w->c->dkim.rsa_bits)
		return complain("%" PRIu64 " bits are less than dkim rsa-bits (%" PRIu64 ") allows", n,
		    w->c->dkim.rsa_bits);
	char *given = x_strndup(w->selector);
	work_free_selector(w, algorithm, selector);
	struct dkim_entry *x = work_make_key(w, algorithm, *given ? given : selector, (unsigned)n);
	free(given);
	return x ? work_show_key(w, x) : STATUS_FAILED;
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
	snprintf(age, sizeof(age), "%" PRIu64 "s", work_now_s() - than_s);
	IPC_RECORD(&args, ctl_arg, .name = VIEW("age"), .value = view_str(age));
	client_call(w->c, command_find(VIEW("queue count")), &args, &o);
	output_end(&o);
	buf_free(&args);
	return n.messages > 0;
}

/* Keys that were replaced go when their time is over and the last message that they signed has left. */
void
work_retire(struct work *w)
{
	for (size_t i = 0; i < w->store.n;) {
		struct dkim_entry *x = &w->store.v[i];
		if (x->state != DKIM_RETIRING || work_now_s() < x->until_s ||
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
		if (w.store.v[i].state == DKIM_RETIRING && work_now_s() >= w.store.v[i].until_s) {
			work_end(&w, status);
			status = work_begin(&w, m, a, true, true);
			if (status == STATUS_DONE)
				work_retire(&w);
			break;
		}
	for (size_t i = 0; status == STATUS_DONE && i < w.store.n; i++) {
		const struct dkim_entry *x = &w.store.v[i];
		if (!work_wants(&w, x))
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
		if (work_wants(&w, &w.store.v[i])) {
			any = true;
			status = work_show_key(&w, &w.store.v[i]);
		}
	if (status == STATUS_DONE && !any)
		status = complain("there is no such key; see mtactl dkim list");
	return work_end(&w, status);
}
