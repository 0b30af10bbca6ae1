/* SPDX-License-Identifier: ISC */
/*
 * A header as a list: the first byte chooses changes, the rest is lines. What is written is the fields that
 * the list says there are, a header that is read again is the same list, and no change makes another field
 * than the one asked for. The value of each field is read as authors.
 */
#include <string.h>

#include "lib/header.h"
#include "t/fuzz/fuzz.h"

enum { LIST_MAX = 1 << 20 };

/* As the scanner does: whole lines that end in CRLF, without bare CR, LF or NUL. */
static void
fill(struct header_list *l, struct view in)
{
	header_list_init(l, LIST_MAX);
	while (in.n && !l->ended) {
		const char *lf = memchr(in.p, '\n', in.n);
		struct view line = view_first(in, lf ? (size_t)(lf - in.p) : in.n);
		in = view_skip(in, line.n + 1);
		for (size_t i = 0; i < line.n; i++)
			if (line.p[i] != '\r' && line.p[i] != '\0')
				header_list_put(l, line.p + i, 1);
		header_list_put(l, "\r\n", 2);
		(void)header_list_line(l);
	}
	header_list_end(l);
}

static uint32_t
alive(const struct header_list *l)
{
	uint32_t n = 0, counted = 0;

	for (uint32_t i = 0; i < l->count; i++)
		n += !l->fields[i].deleted;
	for (unsigned id = 0; id < HEADER_IDS; id++)
		counted += l->counts[id];
	REQUIRE(n == counted);
	return n;
}

static void
same_again(const struct header_list *l)
{
	struct buf out = BUF_INIT(2 * LIST_MAX), again = BUF_INIT(2 * LIST_MAX);
	struct header_list back;

	header_list_write(l, &out);
	fill(&back, buf_view(&out));
	header_list_write(&back, &again);
	REQUIRE(view_eq(buf_view(&out), buf_view(&again)));
	header_list_free(&back);
	buf_free(&out);
	buf_free(&again);
}

static void
check_mailbox(void *ctx, const struct addr *a)
{
	struct addr again;

	(void)ctx;
	REQUIRE(addr_parse(addr_whole(a), 0, &again, NULL) == 0);
	REQUIRE(view_eq(again.domain, a->domain));
}

static void
change(struct header_list *l, unsigned what, struct view in)
{
	uint32_t before = alive(l), at = l->count ? (what >> 3) % l->count : 0;
	struct view value = view_first(in, what & 31), name = view_first(in, 1 + (what & 3));
	bool done;

	switch (what & 3) {
	case 0:
		done = header_list_insert(l, at, name, value);
		REQUIRE(alive(l) == before + done);
		REQUIRE(!done || view_eq(header_list_name(l, at), name));
		REQUIRE(!done || view_eq(header_list_value(l, at), value));
		break;
	case 1:
		done = l->count && header_list_change(l, at, value);
		REQUIRE(alive(l) == before);
		REQUIRE(!done || view_eq(header_list_value(l, at), value));
		break;
	case 2:
		done = l->count && !l->fields[at].deleted;
		if (l->count)
			header_list_delete(l, at);
		REQUIRE(alive(l) == before - done);
		break;
	default:
		header_list_delete_all(l, HEADER_RECEIVED);
		REQUIRE(l->counts[HEADER_RECEIVED] == 0);
		break;
	}
}

void
fuzz_one(struct view in)
{
	struct header_list l;
	unsigned what = view_get_u8(&in), more = view_get_u8(&in);

	if (in.p == NULL)
		return;
	fill(&l, in);
	(void)header_list_hops(&l);
	(void)header_list_twice(&l);
	for (uint32_t i = 0; i < l.count; i++)
		(void)header_from_read(header_list_value(&l, i), check_mailbox, NULL);
	same_again(&l);
	change(&l, what, in);
	change(&l, more, view_skip(in, 3));
	(void)alive(&l);
	header_list_free(&l);
}
