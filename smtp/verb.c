/* SPDX-License-Identifier: ISC */
#include "lib/addr.h"
#include "lib/ipc_schema.h"
#include "smtp/verb.h"

/* Everything from `start` on is one command: it gets its line end, or goes. */
static bool
finish(struct buf *out, size_t start)
{
	struct view v = view_skip(buf_view(out), start);
	bool ok = !out->bad && v.n <= VERB_MAX;

	for (size_t i = 0; ok && i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		ok = c >= 0x20 && c != 0x7f;
	}
	if (!ok) {
		buf_truncate(out, start);
		return false;
	}
	buf_puts(out, "\r\n");
	return true;
}

/* A path in angle brackets; false when the text could end it early. */
static bool
put_path(struct buf *out, const char *verb, struct view addr)
{
	bool quoted = false;

	for (size_t i = 0; i < addr.n; i++) {
		char c = addr.p[i];
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '<' || c == '>' || c == ' '))
			return false;
	}
	buf_puts(out, verb);
	buf_putc(out, '<');
	buf_putv(out, addr);
	buf_putc(out, '>');
	return !quoted;
}

static bool
drop(struct buf *out, size_t start)
{
	buf_truncate(out, start);
	return false;
}

bool
verb_word(struct buf *out, const char *verb)
{
	size_t start = buf_len(out);

	buf_puts(out, verb);
	return finish(out, start);
}

bool
verb_arg(struct buf *out, const char *verb, struct view arg)
{
	size_t start = buf_len(out);

	buf_puts(out, verb);
	buf_putc(out, ' ');
	buf_putv(out, arg);
	return finish(out, start);
}

bool
verb_mail(struct buf *out, const struct verb_mail *m)
{
	size_t start = buf_len(out);

	if (!put_path(out, "MAIL FROM:", m->sender))
		return drop(out, start);
	if (m->size_given)
		buf_printf(out, " SIZE=%llu", (unsigned long long)m->size);
	if (m->eight_bit)
		buf_puts(out, " BODY=8BITMIME");
	if (m->utf8)
		buf_puts(out, " SMTPUTF8");
	if (m->priority)
		buf_printf(out, " MT-PRIORITY=%d", m->priority - 10);
	if (m->ret != RET_NONE)
		buf_puts(out, m->ret == RET_FULL ? " RET=FULL" : " RET=HDRS");
	if (m->envid.n) {
		buf_puts(out, " ENVID=");
		xtext_encode(m->envid, out);
	}
	return finish(out, start);
}

static void
put_notify(struct buf *out, uint8_t notify)
{
	static const struct {
		uint8_t bit;
		const char *word;
	} words[] = { { NOTIFY_NEVER, "NEVER" }, { NOTIFY_SUCCESS, "SUCCESS" },
		{ NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" } };
	const char *sep = " NOTIFY=";

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (notify & words[i].bit) {
			buf_puts(out, sep);
			buf_puts(out, words[i].word);
			sep = ",";
		}
}

bool
verb_rcpt(struct buf *out, const struct verb_rcpt *r)
{
	size_t start = buf_len(out);

	if (r->rcpt.n == 0 || !put_path(out, "RCPT TO:", r->rcpt))
		return drop(out, start);
	put_notify(out, r->notify);
	if (r->orcpt.n) {
		struct view addr = r->orcpt, type = view_cut(&addr, ';');
		buf_puts(out, " ORCPT=");
		buf_putv(out, type);
		buf_putc(out, ';');
		xtext_encode(addr, out);
	}
	return finish(out, start);
}

bool
verb_auth_text(struct buf *out, struct view text)
{
	size_t start = buf_len(out);

	base64_encode(text, out);
	return finish(out, start);
}

bool
verb_auth_plain(struct buf *out, struct view user, struct view secret)
{
	struct buf plain = BUF_INIT(VERB_MAX);
	size_t start = buf_len(out);

	buf_putc(&plain, '\0');
	buf_putv(&plain, user);
	buf_putc(&plain, '\0');
	buf_putv(&plain, secret);
	buf_puts(out, "AUTH PLAIN ");
	base64_encode(buf_view(&plain), out);
	bool ok = !plain.bad && finish(out, start);
	buf_wipe(&plain);
	buf_free(&plain);
	return ok || drop(out, start);
}
