/* SPDX-License-Identifier: ISC */
#include "bounce/returned.h"
#include "lib/event.h"
#include "lib/log.h"
#include "lib/segment.h"

enum { LINE_MAX_BYTES = 2048, ADDRESS_SHOWN = 400 };

void
returned_note(const struct ipc_returned *m, const struct token *t)
{
	struct event ev = { .type = EVENT_late_bounce, .qid = t->qid, .sender = &m->sender,
		.rcpt_index = &t->rcpt, .key_serial = t->key_serial };
	char old[QID_CHARS + 1], new[QID_CHARS + 1];
	struct buf b = BUF_INIT(LINE_MAX_BYTES);

	buf_printf(&b, "%s: returned: %s, rcpt_index=%u, key_serial=%u, from=<", qid_text(t->qid, old),
	    qid_text(m->qid, new), t->rcpt, t->key_serial);
	log_escape(&b, m->sender, ADDRESS_SHOWN, "<>");
	buf_putc(&b, '>');
	log_line(buf_view(&b));
	buf_free(&b);
	if (event_enabled())
		event_write(&ev);
}
