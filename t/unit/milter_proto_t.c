/* SPDX-License-Identifier: ISC */
/* The milter protocol's packets, by tables: what is sent, and what of a milter is taken (J16). */
#include "smtpd/milter_proto.h"
#include "t/tap.h"

#define BYTES(lit) { lit, sizeof(lit) - 1 }

static void
test_commands(void)
{
	struct buf b = BUF_INIT(1 << 20);

	milter_put_negotiate(&b);
	ok(view_eq(buf_view(&b), VIEW("\0\0\0\15O\0\0\0\6\0\0\1\377\0\37\367\377")), "negotiation: version 6, all actions");
	buf_clear(&b);
	milter_put(&b, SMFIC_ABORT, VIEW(""));
	ok(view_eq(buf_view(&b), VIEW("\0\0\0\1A")), "a command without data");
	buf_clear(&b);
	size_t at = milter_begin(&b, SMFIC_HELO);
	milter_put_str(&b, VIEW("a\0b"));
	milter_end(&b, at);
	ok(view_eq(buf_view(&b), VIEW("\0\0\0\3Ha\0")), "a string ends before its NUL");
	buf_clear(&b);
	milter_put_header(&b, 0, VIEW("X"), VIEW("  a\r\n\tb"));
	ok(view_eq(buf_view(&b), VIEW("\0\0\0\11LX\0 a\n\tb\0")), "a header field: one blank goes, folds are line feeds");
	buf_clear(&b);
	milter_put_header(&b, SMFIP_HDR_LEADSPC, VIEW("X"), VIEW(" a"));
	ok(view_eq(buf_view(&b), VIEW("\0\0\0\6LX\0 a\0")), "a header field with its blank");
	buf_clear(&b);
	static char large[200000];
	memset(large, 'x', sizeof(large));
	milter_put_header(&b, 0, VIEW("X"), view_of(large, sizeof(large)));
	is_int(buf_len(&b), MILTER_FRAME_MAX, "a long value is shown as far as a packet goes");
	buf_free(&b);
}

static void
test_take(void)
{
	static const struct {
		struct view in;
		enum milter_taken want;
		size_t rest;
		const char *name;
	} rows[] = {
		{ BYTES(""), MILTER_MORE, 0, "nothing" },
		{ BYTES("\0\0\0"), MILTER_MORE, 3, "part of a length" },
		{ BYTES("\0\0\0\1"), MILTER_MORE, 4, "no command yet" },
		{ BYTES("\0\0\0\1c"), MILTER_TAKEN, 0, "a packet" },
		{ BYTES("\0\0\0\3bxyz"), MILTER_TAKEN, 1, "a packet and more" },
		{ BYTES("\0\0\0\0c"), MILTER_BROKEN, 5, "atk-J16 length 0" },
		{ BYTES("\0\1\0\0"), MILTER_MORE, 4, "the largest length" },
		{ BYTES("\0\1\0\1"), MILTER_BROKEN, 4, "atk-J16 one over the largest" },
		{ BYTES("\377\377\377\377c"), MILTER_BROKEN, 5, "atk-J16 4 GiB" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct view in = rows[i].in;
		struct milter_packet p;
		is_int(milter_take(&in, &p), rows[i].want, "take: %s", rows[i].name);
		is_int(in.n, rows[i].rest, "take: %s: what is left", rows[i].name);
	}
}

static void
test_terms(void)
{
	static const struct {
		struct view data;
		bool want;
		const char *name;
	} rows[] = {
		{ BYTES("\0\0\0\2\0\0\0\77\0\0\0\177"), true, "version 2" },
		{ BYTES("\0\0\0\6\0\0\1\377\0\37\367\377"), true, "all that was offered" },
		{ BYTES("\0\0\0\1\0\0\0\0\0\0\0\0"), false, "version 1" },
		{ BYTES("\0\0\0\7\0\0\0\0\0\0\0\0"), false, "version 7" },
		{ BYTES("\0\0\0\6\0\0\2\0\0\0\0\0"), false, "an action that was not offered" },
		{ BYTES("\0\0\0\6\0\0\0\0\0\0\10\0"), false, "a step that was not offered" },
		{ BYTES("\0\0\0\6\0\0\0\0\20\0\0\0"), false, "packets of 256 KiB" },
		{ BYTES("\0\0\0\6\0\0\0\0\0\0\0"), false, "too short" },
		{ BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\2i {x}\0"), true, "macros of a stage" },
		{ BYTES("\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\2i\0"), false, "macros without leave" },
		{ BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\7i\0"), false, "macros of a stage that is none" },
		{ BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\2i"), false, "macros without an end" },
		{ BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0"), false, "half a stage" },
	};
	struct milter_terms t;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct milter_packet p = { SMFIC_OPTNEG, rows[i].data };
		is_int(milter_terms_get(&p, &t), rows[i].want, "terms: %s", rows[i].name);
	}
	struct milter_packet p = { SMFIC_OPTNEG, rows[8].data };
	milter_terms_get(&p, &t);
	is_view(t.macros[SMFIM_ENVFROM], "i {x}", "terms: the names");
	ok(t.macros[SMFIM_CONNECT].p == NULL, "terms: no names for another stage");
	p.command = SMFIR_CONTINUE;
	ok(!milter_terms_get(&p, &t), "terms: another answer");
}

static void
test_responses(void)
{
	static const struct {
		struct view data;
		char command;
		uint32_t actions;
		int meaning; /* -1: refused */
		const char *name;
	} rows[] = {
		{ BYTES(""), SMFIR_CONTINUE, 0, MILTER_CONTINUE, "continue" },
		{ BYTES("x"), SMFIR_CONTINUE, 0, -1, "continue with data" },
		{ BYTES(""), SMFIR_ACCEPT, 0, MILTER_ACCEPT, "accept" },
		{ BYTES(""), SMFIR_REJECT, 0, MILTER_REJECT, "reject" },
		{ BYTES(""), SMFIR_DISCARD, 0, MILTER_DISCARD, "discard" },
		{ BYTES(""), SMFIR_TEMPFAIL, 0, MILTER_TEMPFAIL, "tempfail" },
		{ BYTES(""), SMFIR_SHUTDOWN, 0, MILTER_SHUTDOWN, "shutdown" },
		{ BYTES(""), SMFIR_SKIP, 0, MILTER_SKIP, "skip" },
		{ BYTES(""), SMFIR_PROGRESS, 0, MILTER_PROGRESS, "progress" },
		{ BYTES(""), 'Z', ~0u, -1, "unknown" },
		{ BYTES("550 5.7.1 no\0"), SMFIR_REPLYCODE, 0, MILTER_REPLY, "reply" },
		{ BYTES("550\0"), SMFIR_REPLYCODE, 0, MILTER_REPLY, "reply: a code alone" },
		{ BYTES("550-5.7.1 a\r\n550 5.7.1 b\0"), SMFIR_REPLYCODE, 0, MILTER_REPLY, "reply: two lines" },
		{ BYTES("550 5.7.1 no"), SMFIR_REPLYCODE, 0, -1, "reply without an end" },
		{ BYTES("250 2.0.0 yes\0"), SMFIR_REPLYCODE, 0, -1, "reply that is good" },
		{ BYTES("650 no\0"), SMFIR_REPLYCODE, 0, -1, "reply of no class" },
		{ BYTES("550 4.7.1 no\0"), SMFIR_REPLYCODE, 0, -1, "reply of two classes" },
		{ BYTES("550-a\r\n450 b\0"), SMFIR_REPLYCODE, 0, -1, "reply of two codes" },
		{ BYTES("550 a\rb\0"), SMFIR_REPLYCODE, 0, -1, "reply with a CR" },
		{ BYTES("550x\0"), SMFIR_REPLYCODE, 0, -1, "reply without a blank" },
		{ BYTES("\0"), SMFIR_REPLYCODE, 0, -1, "reply that is empty" },
		{ BYTES("n\0v\0"), SMFIR_ADDHEADER, SMFIF_ADDHDRS, MILTER_EDIT, "add header" },
		{ BYTES("n\0v\0"), SMFIR_ADDHEADER, ~(uint32_t)SMFIF_ADDHDRS, -1, "add header without leave" },
		{ BYTES("n\0v"), SMFIR_ADDHEADER, ~0u, -1, "add header: open string" },
		{ BYTES("n\0"), SMFIR_ADDHEADER, ~0u, -1, "add header: no value" },
		{ BYTES("n\0v\0x"), SMFIR_ADDHEADER, ~0u, -1, "add header: more behind it" },
		{ BYTES("\0\0\0\1n\0v\0"), SMFIR_INSHEADER, SMFIF_ADDHDRS, MILTER_EDIT, "insert header" },
		{ BYTES("\0\0\0"), SMFIR_INSHEADER, ~0u, -1, "insert header: half an index" },
		{ BYTES("\0\0\0\1n\0\0"), SMFIR_CHGHEADER, SMFIF_CHGHDRS, MILTER_EDIT, "change header" },
		{ BYTES("\0\0\0\1n\0\0"), SMFIR_CHGHEADER, SMFIF_ADDHDRS, -1, "change header without leave" },
		{ BYTES("a\0b"), SMFIR_REPLBODY, SMFIF_CHGBODY, MILTER_EDIT, "replace body" },
		{ BYTES(""), SMFIR_REPLBODY, SMFIF_CHGBODY, MILTER_EDIT, "replace body by nothing" },
		{ BYTES(""), SMFIR_REPLBODY, 0, -1, "replace body without leave" },
		{ BYTES("<a@b>\0"), SMFIR_ADDRCPT, SMFIF_ADDRCPT, MILTER_EDIT, "add recipient" },
		{ BYTES("<a@b>\0X=1\0"), SMFIR_ADDRCPT, SMFIF_ADDRCPT, -1, "add recipient with more" },
		{ BYTES("<a@b>\0X=1\0"), SMFIR_ADDRCPT_PAR, SMFIF_ADDRCPT_PAR, MILTER_EDIT, "add recipient, parameters" },
		{ BYTES("<a@b>\0"), SMFIR_ADDRCPT_PAR, SMFIF_ADDRCPT_PAR, MILTER_EDIT, "add recipient, no parameters" },
		{ BYTES("<a@b>\0"), SMFIR_DELRCPT, SMFIF_DELRCPT, MILTER_EDIT, "delete recipient" },
		{ BYTES("<a@b>\0"), SMFIR_CHGFROM, SMFIF_CHGFROM, MILTER_EDIT, "change sender" },
		{ BYTES("<a@b>\0X\0Y\0"), SMFIR_CHGFROM, SMFIF_CHGFROM, -1, "change sender: three strings" },
		{ BYTES("why\0"), SMFIR_QUARANTINE, SMFIF_QUARANTINE, MILTER_EDIT, "quarantine" },
	};
	struct milter_response r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct milter_packet p = { rows[i].command, rows[i].data };
		bool taken = milter_response_get(&p, rows[i].actions, &r);
		is_int(taken ? (int)r.meaning : -1, rows[i].meaning, "response: %s", rows[i].name);
	}
}

static void
test_values(void)
{
	struct milter_response r;
	struct milter_packet p = { SMFIR_REPLYCODE, BYTES("552-5.6.7 all 100%%\r\n552 5.6.7 b%c\0") };

	ok(milter_response_get(&p, 0, &r) && r.code == 552 && r.esc.class == 5 && r.esc.detail == 7, "reply: codes");
	is_str(r.text, "all 100% b%c", "reply: text");
	static char text[8000] = "550 ";
	memset(text + 4, 'x', sizeof(text) - 5);
	p.data = view_of(text, sizeof(text));
	ok(milter_response_get(&p, 0, &r) && strlen(r.text) == MILTER_REPLY_MAX - 1, "reply: a long one is cut");
	p = (struct milter_packet){ SMFIR_INSHEADER, BYTES("\0\0\1\2name\0value\0") };
	ok(milter_response_get(&p, ~0u, &r) && r.index == 258, "insert: index");
	is_view(r.name, "name", "insert: name");
	is_view(r.value, "value", "insert: value");
}

int
main(void)
{
	test_commands();
	test_take();
	test_terms();
	test_responses();
	test_values();
	return done_testing();
}
