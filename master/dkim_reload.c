/* SPDX-License-Identifier: ISC */
/* The DKIM keys change without a new configuration. */
#include "lib/log.h"
#include "master/master.h"

enum ctl_result ctl_dkim_reload(struct ctl_call *call);

/* The key processes first: what smtpd may ask for is there then, but for the time of a turn. */
static void
send_all(struct master *m)
{
	static const struct {
		enum role role;
		void (*send)(const struct dkim_set *s, struct channel *ch);
	} rows[] = { { ROLE_SIGND, dkim_set_send_keys }, { ROLE_SMTPD, dkim_set_send_names } };

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
		for (size_t i = 0; i < m->proc_count; i++)
			if (m->procs[i]->role == rows[r].role && proc_reachable(m->procs[i]))
				rows[r].send(m->gen->dkim, &m->procs[i]->ch);
}

enum ctl_result
ctl_dkim_reload(struct ctl_call *call)
{
	struct master *m = call->daemon;
	struct buf errors = BUF_INIT(65536);
	enum ctl_result result;

	if (m->phase != MASTER_SERVING || m->reload.next)
		return ctl_end(call, 1, "the suite is starting, stopping or reloading");
	struct dkim_set *set = dkim_set_read(m->gen->conf, m->gen->dkim, &errors);
	if (set) {
		dkim_set_free(&m->gen->dkim);
		m->gen->dkim = set;
		send_all(m);
		log_info("DKIM keys read again by user %u: %zu", call->uid, dkim_set_count(set));
		result = CTL_DONE;
	} else {
		log_error("DKIM keys: %s", buf_cstr(&errors));
		result = control_refuse(call, buf_view(&errors));
	}
	buf_free(&errors);
	return result;
}
