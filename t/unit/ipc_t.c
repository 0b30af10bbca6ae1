/* SPDX-License-Identifier: ISC */
/* Every message of the schema: round trip, limits, every truncation, every changed byte. */
#include "lib/ipc.h"
#include "t/tap.h"

enum { STRUCT_MAX = 2048 };
static char filler[70000];

/* Fills a struct from its descriptor; variable fields get `len` bytes (at most their limit). */
static void
fill(const struct ipc_desc *d, void *m, size_t len, unsigned seed)
{
	size_t count;
	const struct ipc_field *f = d->fields(&count);

	memset(m, 0, STRUCT_MAX);
	for (; count--; f++) {
		void *at = (char *)m + f->offset;
		switch (f->kind) {
		case IPC_u8:
			*(uint8_t *)at = (uint8_t)(seed + 200);
			break;
		case IPC_u16:
			*(uint16_t *)at = (uint16_t)(seed + 60000);
			break;
		case IPC_u32:
			*(uint32_t *)at = seed + 4000000000u;
			break;
		case IPC_u64:
			*(uint64_t *)at = seed + 0xfedcba9876543210u;
			break;
		case IPC_flag:
			*(bool *)at = seed & 1;
			break;
		default:
			*(struct view *)at = view_of(filler, len < f->max ? len : f->max);
			break;
		}
		seed++;
	}
}

static bool
same(const struct ipc_desc *d, const void *a, const void *b)
{
	struct buf x = BUF_INIT(1 << 20), y = BUF_INIT(1 << 20);
	ipc_put(&x, d, a);
	ipc_put(&y, d, b);
	bool equal = view_eq(buf_view(&x), buf_view(&y)) && !x.bad;
	buf_free(&x);
	buf_free(&y);
	return equal;
}

static void
round_trip(const struct ipc_desc *d)
{
	_Alignas(16) char in[STRUCT_MAX], out[STRUCT_MAX];
	struct buf b = BUF_INIT(1 << 20);
	bool all = true, none = true;

	fill(d, in, 40, 1);
	ipc_put(&b, d, in);
	ok(!b.bad && ipc_get(d, buf_view(&b), out) && same(d, in, out), "%s: round trip", d->name);
	for (size_t n = 0; n < buf_len(&b); n++)
		if (ipc_get(d, view_first(buf_view(&b), n), out))
			none = false;
	ok(none, "%s: no truncation is accepted", d->name);
	buf_putc(&b, 0);
	ok(!ipc_get(d, buf_view(&b), out), "%s: a byte too many is refused", d->name);
	buf_truncate(&b, buf_len(&b) - 1);
	for (size_t n = 0; n < buf_len(&b); n++)
		for (unsigned bit = 0; bit < 8; bit++) {
			b.p[b.off + n] ^= (char)(1u << bit);
			if (ipc_get(d, buf_view(&b), out)) {
				struct buf again = BUF_INIT(1 << 20);
				ipc_put(&again, d, out);
				if (!view_eq(buf_view(&again), buf_view(&b)))
					all = false;
				buf_free(&again);
			}
			b.p[b.off + n] ^= (char)(1u << bit);
		}
	ok(all, "%s: a changed byte is refused or is another valid message (atk-I12)", d->name);
	buf_free(&b);
}

static void
field_limits(const struct ipc_desc *d)
{
	_Alignas(16) char m[STRUCT_MAX];
	size_t count;
	const struct ipc_field *f = d->fields(&count);

	for (size_t i = 0; i < count; i++) {
		if (f[i].kind < IPC_blob)
			continue;
		struct buf b = BUF_INIT(1 << 20);
		fill(d, m, 1, 1);
		*(struct view *)(m + f[i].offset) = view_of(filler, f[i].max);
		ipc_put(&b, d, m);
		bool at_limit = !b.bad;
		buf_clear(&b);
		*(struct view *)(m + f[i].offset) = view_of(filler, f[i].max + 1u);
		ipc_put(&b, d, m);
		ok(at_limit && b.bad, "%s.%s: %u bytes pass, one more does not", d->name, f[i].name, f[i].max);
		buf_free(&b);
	}
}

static bool
rcpt_passes(const char *addr, size_t n)
{
	struct buf b = BUF_INIT(4096);
	struct ipc_job_rcpt m, good = { .rcpt = VIEW("a@b") };
	char evil[64] = { 0 };

	/* Encode something valid of the same length, then put the bytes in place. */
	memset(evil, 'a', n);
	good.rcpt = view_of(evil, n);
	ipc_put(&b, &ipc_desc_job_rcpt, &good);
	memcpy(b.p + b.off + 8, addr, n);
	bool pass = ipc_get(&ipc_desc_job_rcpt, buf_view(&b), &m);
	buf_free(&b);
	return pass;
}

static void
types(void)
{
	ok(rcpt_passes("a@b", 3), "an address passes");
	ok(rcpt_passes("\"a b\"@c", 7), "a blank inside quotes passes");
	ok(!rcpt_passes("a b@c", 5), "a blank outside does not");
	ok(!rcpt_passes("a\r\n@c", 5), "atk-I10 no CR LF in an address");
	ok(!rcpt_passes("a\0b@c", 5), "atk-I10 no NUL in an address");
	ok(!rcpt_passes("\"a@c", 4), "an open quote does not pass");
	ok(!rcpt_passes("<a@c>", 5), "no angle brackets");
}

static void
records(void)
{
	struct buf b = BUF_INIT(4096);
	struct ipc_mx_host h;
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		IPC_RECORD(&b, mx_host, .pref = (uint16_t)i, .name = VIEW("mx.example"), .v4 = VIEW("\x7f\0\0\1"));
	struct view v = buf_view(&b);
	while (ipc_next(&ipc_desc_mx_host, &v, &h))
		if (h.pref == n)
			n++;
	ok(n == 3 && view_done(v), "records are read in order to the end");
	ok(ipc_records_ok(&ipc_desc_mx_host, buf_view(&b)), "a whole blob is valid");
	ok(!ipc_records_ok(&ipc_desc_mx_host, view_first(buf_view(&b), buf_len(&b) - 1)),
	    "a cut blob is not");
	buf_free(&b);
}

static void
printer(void)
{
	struct buf out = BUF_INIT(4096);
	ipc_print(&out, &ipc_desc_auth,
	    &(struct ipc_auth){ .req = 7, .client = VIEW("1.2.3.4"), .secret = VIEW("canary") });
	ok(strstr(buf_cstr(&out), "canary") == NULL, "atk-E8 the printer masks secrets");
	ok(strstr(buf_cstr(&out), "client=1.2.3.4") != NULL, "and shows the rest");
	buf_free(&out);
}

int
main(void)
{
	size_t count;
	const struct ipc_desc *const *all = ipc_all(&count);

	memset(filler, 'a', sizeof(filler));
	for (size_t i = 0; i < count; i++) {
		round_trip(all[i]);
		field_limits(all[i]);
		if (all[i]->type)
			ok(ipc_desc_of(all[i]->type) == all[i], "%s: found by its number", all[i]->name);
	}
	ok(ipc_desc_of(0xffff) == NULL, "an unknown number is nobody's");
	types();
	records();
	printer();
	return done_testing();
}
