/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fault.h"
#include "qmgr/authd.h"
#include "qmgr/conn.h"
#include "qmgr/dest.h"
#include "qmgr/keyhold.h"
#include "qmgr/list.h"
#include "qmgr/logline.h"
#include "qmgr/segments.h"
#include "qmgr/shape.h"
#include "qmgr/source.h"
#include "qmgr/special.h"
#include "qmgr/store.h"

/* TURN: messages that a connection takes while other lanes wait for one. */
enum { RCPTS_BYTES = 49000, RCPT_OVERHEAD = 13, TURN = 20 };

struct sent {
	struct table_node node;
	uint64_t number;
};

static struct table_node *
find_sent(const struct smtp *s, uint64_t number)
{
	for (struct table_node *n = table_first(&s->sent, hash_u64(number)); n; n = table_next(n))
		if (CONTAINER(n, struct sent, node)->number == number)
			return n;
	return NULL;
}

/* The process has a descriptor of this content, or gets one. -1 with errno. */
static int
offer(struct smtp *s, uint64_t number, int fd)
{
	struct sent *n;

	if (fd < 0)
		return -1;
	n = x_calloc(1, sizeof(*n));
	n->number = number;
	table_put(&s->sent, &n->node, hash_u64(number));
	IPC_SEND_FD(&s->ch, fd, content, .content = number);
	return 0;
}

static int
offer_content(struct smtp *s, const struct message *m)
{
	struct qmgr *q = s->q;

	if (!find_sent(s, m->seg->gen) &&
	    offer(s, m->seg->gen, segment_open_reader(q, m->seg)) < 0)
		return -1;
	if (m->big && !find_sent(s, m->big))
		return offer(s, m->big, big_open_reader(q, m->big));
	return 0;
}

void
conn_drop_content(struct qmgr *q, uint64_t number)
{
	LIST_EACH(&q->smtps, l, after) {
		struct smtp *s = CONTAINER(l, struct smtp, link);
		struct table_node *n = find_sent(s, number);
		if (n == NULL)
			continue;
		table_del(&s->sent, n);
		free(CONTAINER(n, struct sent, node));
		IPC_SEND(&s->ch, content_drop, .content = number);
	}
}

static struct smtp *
least_loaded(const struct qmgr *q)
{
	struct smtp *best = NULL;

	LIST_EACH(&q->smtps, l, after) {
		struct smtp *s = CONTAINER(l, struct smtp, link);
		if (best == NULL || s->load < best->load)
			best = s;
	}
	return best;
}

/* For texts and traces: the domain of what waits first; a site has several. */
static struct view
next_hop(const struct lane *lane)
{
	const struct sched_item *next = sched_peek(&lane->sched);
	const struct rcpt *r = next ? CONTAINER(next, struct item, sched)->head : NULL;

	return view_str(r && r->dest ? r->dest->name : lane->route.host);
}

int
conn_open(struct lane *lane)
{
	struct qmgr *q = lane->q;
	const struct site *site = lane->route.site;
	struct smtp *s = least_loaded(q);
	const struct route *r = &lane->route;

	if (s == NULL)
		return -1;
	struct conn *c = x_calloc(1, sizeof(*c));
	c->id = qmgr_id(q);
	c->lane = lane;
	c->smtp = s;
	list_init(&c->job_list);
	table_put(&q->conns, &c->node, hash_u64(c->id));
	list_put(&lane->conns, &c->lane_link);
	list_put(&s->conns, &c->smtp_link);
	s->load++;
	q->conns_open++;
	lane->opening++;
	shape_connect(lane);
	IPC_SEND(&s->ch, conn_open, .conn = c->id, .nexthop = next_hop(lane), .mx = r->mx,
	    .port = r->port, .tls = r->tls,
	    .helo = source_helo(r->source, q),
	    .auth = r->auth ? VIEW("relayhost") : VIEW(""), .idle_s = r->group->idle_s,
	    .source = source_address(r->source, false), .source6 = source_address(r->source, true),
	    .group = view_str(r->group->name), .secure = site && site->secure,
	    .implicit = site && site->implicit,
	    .hosts = site ? view_of(site->hosts, site->hosts_bytes) : VIEW(""));
	return 0;
}

/* No job may be on it any more. */
static void
conn_free(struct conn *c)
{
	struct qmgr *q = c->smtp->q;

	if (c->state == LINK_OPENING)
		c->lane->opening--;
	else if (c->state == LINK_READY)
		c->lane->ready--;
	shape_disconnect(c->lane);
	link_cut(&c->lane_link);
	link_cut(&c->smtp_link);
	link_cut(&c->idle);
	table_del(&q->conns, &c->node);
	c->smtp->load--;
	q->conns_open--;
	c->lane->idle_since_ms = loop_now_ms(q->loop);
	free(c);
}

static void
conn_retire(struct conn *c)
{
	if (c->state == LINK_READY)
		c->lane->ready--;
	c->state = LINK_CLOSING;
	link_cut(&c->idle);
	IPC_SEND(&c->smtp->ch, conn_close, .conn = c->id);
}

void
conn_close_idle(struct qmgr *q, const struct shaper *shaper, const struct source *source)
{
	LIST_EACH(&q->idle_conns, l, after) {
		struct conn *c = CONTAINER(l, struct conn, idle);
		if ((shaper && c->lane->shaper != shaper) || (source && c->lane->route.source != source))
			continue;
		conn_retire(c);
		return;
	}
}

/* Other lanes have none, and wait for one of those that this one counts among. */
static bool
others_starve(const struct conn *c)
{
	const struct lane *lane = c->lane;

	return !list_empty(&c->smtp->q->starved) || !list_empty(&lane->shaper->starved) ||
	    (lane->route.source && !list_empty(&lane->route.source->starved));
}

/* Jobs. */

static struct job *
job_new(struct conn *c, struct item *item)
{
	struct qmgr *q = c->smtp->q;
	struct stop why;
	uint32_t max = c->lane->shaper->group->recipients_per_message, n = 0;
	uint32_t room = shape_room(c->lane, &why);
	size_t bytes = 0;

	if (c->max_rcpts && c->max_rcpts < max)
		max = c->max_rcpts;
	if (special_verp(item->head))
		max = 1;
	if (room && room < max)
		max = room;
	for (const struct rcpt *r = item->head; r && n < max; r = r->next, n++) {
		bytes += r->addr.n + r->orcpt.n + RCPT_OVERHEAD;
		if (n && bytes > RCPTS_BYTES)
			break;
	}
	struct job *j = x_calloc(1, sizeof(*j));
	j->id = qmgr_id(q);
	j->conn = c;
	j->m = item->m;
	j->rcpts = item_take(item, n);
	for (struct rcpt *r = j->rcpts; r; r = r->next)
		rcpt_set_state(r, R_JOB);
	table_put(&q->jobs, &j->node, hash_u64(j->id));
	list_put(&c->job_list, &j->link);
	c->jobs++;
	shape_begin(c->lane, j->m->tenant, n);
	return j;
}

static void
job_free(struct job *j)
{
	table_del(&j->conn->smtp->q->jobs, &j->node);
	link_cut(&j->link);
	j->conn->jobs--;
	free(j);
}

static void
put_rcpts(struct buf *b, const struct job *j, uint32_t *attempt)
{
	for (const struct rcpt *r = j->rcpts; r; r = r->next) {
		IPC_RECORD(b, job_rcpt, .index = r->index, .rcpt = r->addr, .orcpt = r->orcpt,
		    .notify = r->notify);
		if (r->attempts + 1 > *attempt)
			*attempt = r->attempts + 1;
	}
}

static int
send_job(const struct job *j)
{
	const struct message *m = j->m;
	struct smtp *s = j->conn->smtp;
	const struct lane *lane = j->conn->lane;
	struct buf rcpts = BUF_INIT(50000), room = BUF_INIT(IPC_ADDR_MAX);
	uint32_t attempt = 0;

	put_rcpts(&rcpts, j, &attempt);
	struct view sender = special_sender(j->rcpts, &room);
	struct view original = special_verp(j->rcpts) ? m->sender : m->sender_original;
	int rc = rcpts.bad ? -1 :
	    IPC_SEND(&s->ch, deliver, .conn = j->conn->id, .job = j->id, .qid = m->qid,
		.content = m->seg->gen, .offset = m->offset + record_front_at(&m->rec),
		.front_len = m->rec.front_len, .big = m->big,
		.content_len = m->big ? m->size : m->rec.content_len, .crc = m->rec.content_crc,
		.flags = m->rec.flags, .arrival_us = m->arrival_us, .received_us = m->received_us,
		.active_us = m->active_us, .sender = sender, .sender_original = original,
		.tenant = view_str(m->tenant->name), .user = m->user,
		.lane = view_str(lane->name), .attempt = attempt, .envid = m->envid,
		.ret = m->ret, .tag = m->tag, .batch = m->batch, .label = m->label,
		.copy = j->rcpts->kind == RCPT_COPY, .mt_priority = m->mt_priority, .site = lane->route.site ? view_str(lane->route.site->name) : view_str(lane->name),
		.source_name = view_str(lane->route.source ? lane->route.source->name : ""), .rcpts = buf_view(&rcpts));
	buf_free(&rcpts);
	buf_free(&room);
	return rc;
}

/* Takes the job apart; each recipient goes through `what`. */
static void
end_job(struct job *j, void (*what)(struct rcpt *r))
{
	struct rcpt *list = j->rcpts, *r;
	uint32_t untried = 0;

	for (r = list; r; r = r->next)
		untried++;
	shape_end(j->conn->lane, j->m->tenant, untried);
	job_free(j);
	while ((r = list) != NULL) {
		list = r->next;
		r->next = NULL;
		what(r);
	}
}

static void
content_lost(struct rcpt *r)
{
	rcpt_damaged(r);
}

static void
content_later(struct rcpt *r)
{
	const struct outcome o = { .esc = ESC(4, 3, 0), .text = VIEW("content cannot be opened now") };

	logline_rcpt(r, &o, "deferred", NULL);
	rcpt_defer(r, &o);
}

/* The order that loses mail: finished before the other side said so. */
static void
mark_early(const struct job *j)
{
	for (const struct rcpt *r = j->rcpts; r; r = r->next)
		store_done_mark(j->m->q, j->m->seg, j->m->qid, r->index);
}

void
conn_give(struct conn *c)
{
	struct sched_item *next = sched_take(&c->lane->sched);

	if (next == NULL)
		return;
	struct job *j = job_new(c, CONTAINER(next, struct item, sched));

	link_cut(&c->idle);
	if (offer_content(c->smtp, j->m) < 0) {
		log_error("content of a message: %s", strerror(errno));
		end_job(j, errno == ENOENT ? content_lost : content_later);
		return;
	}
	if (send_job(j) < 0) {
		/* A gone process returns its jobs itself; else a field is not what it may be. */
		if (channel_is_open(&c->smtp->ch))
			end_job(j, content_lost);
		return;
	}
	if (FAULT_MUTANT("done.early"))
		mark_early(j);
	c->given++;
	if (c->given >= c->lane->shaper->group->messages_per_connection ||
	    (c->max_mails && c->given >= c->max_mails) || (c->given >= TURN && others_starve(c)))
		conn_retire(c);
}

/* Results. */

static void
fulfil_wish(struct rcpt *r)
{
	const struct outcome o = { .code = 554, .esc = ESC(5, 7, 0),
		.text = VIEW("returned by the administrator") };
	uint8_t wish = r->wish;

	r->wish = WISH_NONE;
	if (wish == WISH_HOLD) {
		rcpt_hold(r);
	} else if (wish == WISH_FREEZE) {
		keyhold_hold(r);
	} else if (wish == WISH_DELETE) {
		logline_note(r, "deleted by the administrator");
		rcpt_done(r);
	} else {
		logline_rcpt(r, &o, "bounced", NULL);
		rcpt_bounce(r, &o);
		event_rcpt(r, EVENT_admin_bounced);
	}
}

void
job_result(struct rcpt *r, const struct ipc_job_result *res, struct view relay)
{
	struct outcome o = { .code = res->code, .esc = esc_unpack(res->esc), .text = res->text,
		.relay = relay, .remote = res->remote };

	if (res->status == RCPT_SENT) {
		outcomes_count(r, OUTCOME_SENT);
		rcpt_done(r);
	} else if (res->status == RCPT_BOUNCED) {
		outcomes_count(r, OUTCOME_FAILED);
		rcpt_bounce(r, &o);
	} else if (res->status == RCPT_DAMAGED) {
		rcpt_damaged(r);
	} else if (r->wish) {
		rcpt_set_outcome(r, &o);
		fulfil_wish(r);
	} else if (res->status == RCPT_DEFERRED) {
		r->again = 0;
		outcomes_count(r, OUTCOME_DEFERRED);
		rcpt_defer(r, &o);
	} else {
		rcpt_again(r);
	}
}

static void
untried(struct rcpt *r)
{
	if (r->wish)
		fulfil_wish(r);
	else if (message_expired(r->m))
		rcpt_expire(r);
	else
		rcpt_again(r);
}

static void
recall_old(void *ctx, struct table_node *n)
{
	struct job *j = CONTAINER(n, struct job, node);

	(void)ctx;
	if (j->recalled || !message_expired(j->m))
		return;
	j->recalled = true;
	IPC_SEND(&j->conn->smtp->ch, job_recall, .conn = j->conn->id, .job = j->id);
}

void
jobs_recall_old(struct qmgr *q)
{
	table_each(&q->jobs, recall_old, NULL);
}

static struct job *
find_job(struct smtp *s, uint64_t id)
{
	for (struct table_node *n = table_first(&s->q->jobs, hash_u64(id)); n; n = table_next(n)) {
		struct job *j = CONTAINER(n, struct job, node);
		if (j->id == id && j->conn->smtp == s)
			return j;
	}
	return NULL;
}

static struct conn *
find_conn(struct smtp *s, uint64_t id)
{
	for (struct table_node *n = table_first(&s->q->conns, hash_u64(id)); n; n = table_next(n)) {
		struct conn *c = CONTAINER(n, struct conn, node);
		if (c->id == id && c->smtp == s)
			return c;
	}
	return NULL;
}

/* Results mostly come in the order of the job: the first one looked at is it. */
static struct rcpt *
take_rcpt(struct job *j, uint32_t index)
{
	for (struct rcpt **at = &j->rcpts; *at; at = &(*at)->next) {
		struct rcpt *r = *at;
		if (r->index != index)
			continue;
		*at = r->next;
		r->next = NULL;
		return r;
	}
	return NULL;
}

/* C13: more without work than the pool holds. */
static bool
pool_full(const struct lane *lane)
{
	uint32_t idle = 0;

	if (lane->ready <= lane->shaper->group->pool_size)
		return false;
	LIST_EACH(&lane->conns, l, after)
		idle += CONTAINER(l, struct conn, lane_link)->jobs == 0;
	return idle > lane->shaper->group->pool_size;
}

static void
conn_freed_slot(struct conn *c)
{
	struct qmgr *q = c->smtp->q;

	if (c->lane->sched.waiting)
		lane_wake(c->lane);
	else if (c->jobs == 0 && c->state == LINK_READY && (pool_full(c->lane) || others_starve(c)))
		conn_retire(c);
	else if (c->jobs == 0 && c->state == LINK_READY && !link_in(&c->idle))
		list_put(&q->idle_conns, &c->idle);
	if (q->draining)
		qmgr_check_drained(q);
}

static bool
on_conn_ready(struct smtp *s, struct channel *ch, const struct ipc_conn_ready *m, int *fd)
{
	struct conn *c = find_conn(s, m->conn);

	(void)ch, (void)fd;
	if (c == NULL || c->state != LINK_OPENING)
		return c != NULL;
	c->state = LINK_READY;
	c->lane->opening--;
	c->lane->ready++;
	c->max_rcpts = m->max_rcpts;
	c->max_mails = m->max_mails;
	conn_freed_slot(c);
	return true;
}

static bool
on_job_done(struct smtp *s, struct channel *ch, const struct ipc_job_done *m, int *fd)
{
	struct job *j = find_job(s, m->job);
	struct view results = m->results;
	struct ipc_job_result res;
	bool sent = false;

	(void)ch, (void)fd;
	if (j == NULL || j->conn->id != m->conn || !ipc_records_ok(&ipc_desc_job_result, results))
		return false;
	struct conn *c = j->conn;
	(void)FAULT("job.result");
	while (ipc_next(&ipc_desc_job_result, &results, &res)) {
		struct rcpt *r = take_rcpt(j, res.index);
		if (r == NULL)
			return false;
		sent |= res.status == RCPT_SENT;
		if (res.throttle.n) {
			const struct outcome why = { .code = res.code, .esc = esc_unpack(res.esc),
				.text = res.text, .relay = m->relay };
			shape_signal(c->lane, res.throttle, CONN_EVENT_NONE, &why);
		}
		job_result(r, &res, m->relay);
	}
	c->lane->proven |= sent;
	if (sent)
		window_good(&c->lane->window, c->lane->shaper->group->connections);
	if (m->event) {
		const struct outcome why = { .text = VIEW("the connection was cut"), .relay = m->relay };
		shape_signal(c->lane, VIEW(""), m->event, &why);
	}
	if (!m->more) {
		end_job(j, untried);
		conn_freed_slot(c);
	}
	return true;
}

/* The last job first, so that they are in their former order at the front of the lane. */
static void
return_jobs(struct conn *c)
{
	while (!list_empty(&c->job_list))
		end_job(CONTAINER(c->job_list.prev, struct job, link), untried);
}

static bool
on_conn_closed(struct smtp *s, struct channel *ch, const struct ipc_conn_closed *m, int *fd)
{
	struct conn *c = find_conn(s, m->conn);
	struct qmgr *q = s->q;
	struct outcome o = { .code = m->code, .esc = esc_unpack(m->esc), .text = m->text,
		.relay = m->relay, .remote = m->code != 0 };

	(void)ch, (void)fd;
	if (c == NULL)
		return false;
	struct lane *lane = c->lane;
	bool had_jobs = c->jobs > 0;
	shape_signal(lane, m->throttle, m->event, &o);
	return_jobs(c);
	conn_free(c);
	if (m->why == CONN_SOURCE && lane->route.source)
		source_unusable(lane, &o);
	else if (m->why != CONN_IDLE)
		lane_failed(lane, &o, m->why == CONN_REFUSED);
	else if (lane->sched.waiting || had_jobs)
		lane_wake(lane);
	lanes_feed_starved(lane);
	if (q->draining)
		qmgr_check_drained(q);
	return true;
}

static bool
on_frame(struct channel *ch, uint16_t type, struct view body, int *fd)
{
	struct smtp *d = ch->ctx;

	switch (type) {
		IPC_SMTP_TO_QMGR(IPC_CASE)
	default:
		return false;
	}
}

/* Processes. */

static void
smtp_free(struct loop_reap *r)
{
	free(CONTAINER(r, struct smtp, reap));
}

static void
free_sent(void *ctx, struct table_node *n)
{
	struct smtp *s = ctx;

	table_del(&s->sent, n);
	free(CONTAINER(n, struct sent, node));
}

static void
smtp_gone(struct smtp *s)
{
	struct qmgr *q = s->q;

	link_cut(&s->link);
	channel_close(&s->ch);
	while (!list_empty(&s->conns)) {
		struct conn *c = CONTAINER(s->conns.next, struct conn, smtp_link);
		struct lane *lane = c->lane;
		return_jobs(c);
		conn_free(c);
		lane_wake(lane);
	}
	table_each(&s->sent, free_sent, s);
	table_free(&s->sent);
	loop_reap(q->loop, &s->reap);
	if (q->draining)
		qmgr_check_drained(q);
}

static void
on_closed(struct channel *ch, const struct err *e)
{
	struct smtp *s = ch->ctx;

	if (!s->q->draining)
		log_warn("smtp process %u is gone%s%s", ch->instance, e ? ": " : "",
		    e ? e->text : "");
	smtp_gone(s);
}

void
smtp_detach(struct qmgr *q, uint32_t instance)
{
	LIST_EACH(&q->smtps, l, after) {
		struct smtp *s = CONTAINER(l, struct smtp, link);
		if (instance == UINT32_MAX || s->ch.instance == instance)
			smtp_gone(s);
	}
}

void
smtp_attach(struct qmgr *q, uint32_t instance, int fd)
{
	static const struct channel_ops ops = { on_frame, on_closed };
	struct smtp *s = x_calloc(1, sizeof(*s));

	smtp_detach(q, instance);
	s->q = q;
	s->reap.free = smtp_free;
	list_init(&s->conns);
	if (channel_open(&s->ch, q->loop, fd, &ops, s, ROLE_SMTP, instance) < 0) {
		log_error("channel to smtp %u: %s", instance, strerror(errno));
		close(fd);
		free(s);
		return;
	}
	list_put(&q->smtps, &s->link);
	lanes_wake_all(q);
}
