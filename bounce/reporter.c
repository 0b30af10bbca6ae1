/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bounce/dsn.h"
#include "bounce/reporter.h"
#include "lib/fault.h"
#include "lib/log.h"

struct report_job {
	struct reporter *reporter;
	struct ipc_report m; /* views into frame */
	struct buf frame;
	int fd;
	struct dsn_text text;
	struct envelope env;
	struct segment_rcpt rcpt;
	struct spool_msg msg;
	struct loop_reap reap;
	struct report_job *next, **prev;
};

static void start_next(struct reporter *r);

static void
job_free(struct loop_reap *reap)
{
	struct report_job *j = CONTAINER(reap, struct report_job, reap);

	buf_free(&j->frame);
	dsn_text_free(&j->text);
	free(j);
}

static void
job_drop(struct report_job *j)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
	j->reap.free = job_free;
	loop_reap(j->reporter->loop, &j->reap);
}

static void
activate(struct reporter *r, struct report_job *j)
{
	j->next = r->active;
	j->prev = &r->active;
	if (j->next)
		j->next->prev = &j->next;
	r->active = j;
	r->active_count++;
}

static void
deactivate(struct reporter *r, struct report_job *j)
{
	*j->prev = j->next;
	if (j->next)
		j->next->prev = j->prev;
	r->active_count--;
}

static void
reply(struct reporter *r, const struct report_job *j, uint64_t new_qid, const struct err *e)
{
	if (r->qmgr == NULL)
		return;
	IPC_SEND(r->qmgr, report_done, .req = j->m.req, .ok = e == NULL, .new_qid = new_qid,
	    .text = e ? view_first(view_str(e->text), 255) : VIEW(""));
}

static void
log_report(const struct report_job *j)
{
	char old[QID_CHARS + 1], new[QID_CHARS + 1];

	qid_text(j->m.qid, old);
	qid_text(j->env.qid, new);
	log_info("%s: message-id=" VIEW_FMT, new, VIEW_ARG(buf_view(&j->text.message_id)));
	log_info("%s: sender %s notification: %s", old,
	    j->m.kind == REPORT_DELAYED ? "delay" : "non-delivery", new);
}

static void
end_job(struct report_job *j, uint64_t new_qid, const struct err *e)
{
	struct reporter *r = j->reporter;
	char qid[QID_CHARS + 1];

	if (e)
		log_warn("%s: no report to the sender now: %s", qid_text(j->m.qid, qid), e->text);
	reply(r, j, new_qid, e);
	deactivate(r, j);
	job_drop(j);
	start_next(r);
	if (r->idle && reporter_idle(r))
		r->idle(r);
}

static void
committed(struct spool_msg *m, const struct err *e)
{
	struct report_job *j = CONTAINER(m, struct report_job, msg);

	if (e == NULL)
		log_report(j);
	(void)FAULT("report.synced");
	end_job(j, e ? 0 : j->env.qid, e);
}

/*
 * The first bytes of the original. What cannot be read does not come back: the report matters
 * more.
 */
static void
read_original(struct report_job *j, struct buf *out)
{
	uint64_t want = j->m.content_len < DSN_ORIGINAL_MAX ? j->m.content_len : DSN_ORIGINAL_MAX;
	char qid[QID_CHARS + 1];

	while (buf_len(out) < want) {
		size_t left = (size_t)want - buf_len(out);
		ssize_t n = pread(j->fd, buf_reserve(out, left), left,
		    (off_t)(j->m.offset + buf_len(out)));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_error("%s: reading the message to return: %s", qid_text(j->m.qid, qid),
			    n < 0 ? strerror(errno) : "it ends early");
			break;
		}
		buf_commit(out, (size_t)n);
	}
}

/* Wall clock, but never the same twice: it goes into Message-ID. */
static uint64_t
stamp(struct reporter *r)
{
	uint64_t now = loop_wall_us(r->loop);

	r->last_us = now > r->last_us ? now : r->last_us + 1;
	return r->last_us;
}

static int
compose(struct report_job *j)
{
	struct reporter *r = j->reporter;
	struct buf original = BUF_INIT(DSN_ORIGINAL_MAX);
	char qid[QID_CHARS + 1];

	read_original(j, &original);
	struct dsn d = { .kind = j->m.kind, .hostname = view_str(r->hostname),
		.postmaster = view_str(r->postmaster), .qid = qid_text(j->m.qid, qid),
		.sender = j->m.sender, .now_us = stamp(r), .arrival_us = j->m.arrival_us,
		.expires_us = j->m.expires_us, .envid = j->m.envid, .ret = j->m.ret,
		.rcpts = j->m.rcpts, .original = buf_view(&original),
		.original_size = j->m.content_len };
	int rc = dsn_write(&d, &j->text);
	buf_free(&original);
	j->rcpt = (struct segment_rcpt){ .addr = j->m.sender, .notify = NOTIFY_NEVER };
	j->env = (struct envelope){ .arrival_us = d.now_us, .received_us = d.now_us,
		.tenant = j->m.tenant, .user = j->m.user,
		.message_id = buf_view(&j->text.message_id), .flags = SEGMENT_REPORT | j->text.flags,
		.size = buf_len(&j->text.message), .rcpts = &j->rcpt, .nrcpt = 1 };
	j->msg = (struct spool_msg){ .env = &j->env, .content = buf_view(&j->text.message),
		.committed = committed };
	return rc;
}

static void
start(struct report_job *j)
{
	struct err e;

	activate(j->reporter, j);
	if (compose(j) < 0) {
		err_set(&e, ERR_BUG, ESC(4, 3, 0), "the report cannot be written");
		end_job(j, 0, &e);
		return;
	}
	close(j->fd);
	j->fd = -1;
	spool_store(j->reporter->spool, &j->msg);
}

static void
start_next(struct reporter *r)
{
	struct report_job *j = r->waiting;

	if (j == NULL || r->active_count >= REPORTER_ACTIVE)
		return;
	r->waiting = j->next;
	if (r->waiting == NULL)
		r->waiting_end = &r->waiting;
	r->waiting_count--;
	start(j);
}

static struct report_job *
job_new(struct reporter *r, const struct ipc_report *m, int *fd)
{
	struct report_job *j = x_calloc(1, sizeof(*j));

	j->reporter = r;
	j->fd = *fd;
	*fd = -1;
	dsn_text_init(&j->text);
	buf_init(&j->frame, IPC_FRAME_MAX);
	ipc_put(&j->frame, &ipc_desc_report, m);
	if (!ipc_get(&ipc_desc_report, buf_view(&j->frame), &j->m))
		abort(); /* it was decoded from a frame: it fits into one */
	return j;
}

bool
reporter_take(struct reporter *r, const struct ipc_report *m, int *fd)
{
	if (*fd < 0 || m->kind < REPORT_FAILED || m->kind > REPORT_DELAYED || m->rcpts.n == 0 ||
	    m->offset > INT64_MAX - UINT32_MAX || !ipc_records_ok(&ipc_desc_report_rcpt, m->rcpts))
		return false;
	if (m->sender.n == 0) { /* H1: nobody is told that a report could not be delivered */
		IPC_SEND(r->qmgr, report_done, .req = m->req, .ok = true);
		return true;
	}
	if (r->active_count < REPORTER_ACTIVE) {
		start(job_new(r, m, fd));
	} else if (r->waiting_count < REPORTER_WAITING) {
		struct report_job *j = job_new(r, m, fd);
		*r->waiting_end = j;
		r->waiting_end = &j->next;
		r->waiting_count++;
	} else {
		IPC_SEND(r->qmgr, report_done, .req = m->req, .text = VIEW("too many reports wait"));
	}
	return true;
}

void
reporter_init(struct reporter *r, struct loop *l, struct spool *spool)
{
	*r = (struct reporter){ .loop = l, .spool = spool };
	r->waiting_end = &r->waiting;
}

void
reporter_names(struct reporter *r, const char *hostname, const char *postmaster)
{
	struct buf b = BUF_INIT(512);

	free(r->hostname);
	free(r->postmaster);
	r->hostname = x_strdup(*hostname ? hostname : "localhost");
	buf_printf(&b, "postmaster@%s", r->hostname);
	r->postmaster = x_strdup(*postmaster ? postmaster : buf_cstr(&b));
	buf_free(&b);
}

void
reporter_channel(struct reporter *r, struct channel *qmgr)
{
	r->qmgr = qmgr;
	if (qmgr)
		return;
	/* The next qmgr finds in its spool what was stored, and asks anew for the rest. */
	while (r->waiting) {
		struct report_job *j = r->waiting;
		r->waiting = j->next;
		job_drop(j);
	}
	r->waiting_end = &r->waiting;
	r->waiting_count = 0;
	while (r->active) {
		struct report_job *j = r->active;
		spool_cancel(r->spool, &j->msg);
		deactivate(r, j);
		job_drop(j);
	}
}

void
reporter_close(struct reporter *r)
{
	reporter_channel(r, NULL);
	free(r->hostname);
	free(r->postmaster);
	r->hostname = r->postmaster = NULL;
}
