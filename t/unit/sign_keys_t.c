/* SPDX-License-Identifier: ISC */
/* Which domain signs for whom. */
#include "lib/ipc.h"
#include "smtpd/smtpd.h"
#include "t/tap.h"

static bool
name(struct smtpd *d, const char *domain, const char *selector, uint8_t algorithm, uint64_t pin)
{
	struct buf b = BUF_INIT(4096);

	ipc_put(&b, &ipc_desc_dkim_name, &(struct ipc_dkim_name){ view_str(domain), view_str(selector),
		algorithm, pin });
	bool good = sign_material(d, IPC_TYPE_dkim_name, buf_view(&b));
	buf_free(&b);
	return good;
}

static bool
apply(struct smtpd *d, uint32_t count)
{
	struct buf b = BUF_INIT(64);

	ipc_put(&b, &ipc_desc_dkim_apply, &(struct ipc_dkim_apply){ count });
	bool good = sign_material(d, IPC_TYPE_dkim_apply, buf_view(&b));
	buf_free(&b);
	return good;
}

static const char *
signer_for(const struct smtpd *d, const struct sign_rules *r, const char *domain)
{
	const struct sign_key *k = sign_keys_for(&d->sign_keys, r, view_str(domain));

	return k ? k->domain : "none";
}

static void
test_material(struct smtpd *d)
{
	ok(name(d, "b.test", "e", 2, 11) && name(d, "b.test", "r", 1, 12) && name(d, "a.test", "x", 1, 13) &&
	        name(d, "example.co.jp", "j", 1, 14) && name(d, "aa.test", "y", 2, 15),
	    "names come in any order");
	ok(sign_keys_find(&d->sign_keys, VIEW("a.test")) == NULL, "... and count when the set is whole");
	ok(apply(d, 5), "the set is whole");
	const struct sign_key *k = sign_keys_find(&d->sign_keys, VIEW("b.test"));
	ok(k && k->pin == 12 && k[1].pin == 11 && !strcmp(k[1].domain, "b.test"),
	    "K05 a domain's keys stand together, RSA first");
	ok(!name(d, "c.test", "s", 9, 1), "an unknown algorithm is refused");
	ok(!apply(d, 3), "a set that is not whole is refused");
}

static void
test_alignment(const struct smtpd *d)
{
	struct sign_rules exact = { .on = true }, org = { .on = true, .organizational = true };
	struct sign_rules with_default = { .on = true, .default_domain = x_strdup("a.test") };
	static const struct {
		const char *from, *exact, *org, *with_default;
	} rows[] = {
		{ "a.test", "a.test", "a.test", "a.test" },
		{ "b.test", "b.test", "b.test", "b.test" },
		{ "sub.b.test", "none", "b.test", "a.test" },
		{ "example.co.jp", "example.co.jp", "example.co.jp", "example.co.jp" },
		{ "x.y.example.co.jp", "none", "example.co.jp", "a.test" },
		{ "other.co.jp", "none", "none", "a.test" },
		{ "co.jp", "none", "none", "a.test" },
		{ "a.tes", "none", "none", "a.test" },
		{ "a.testt", "none", "none", "a.test" },
		{ "", "none", "none", "a.test" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		is_str(signer_for(d, &exact, rows[i].from), rows[i].exact, "\"%s\" itself", rows[i].from);
		is_str(signer_for(d, &org, rows[i].from), rows[i].org, "... organizational-domain");
		is_str(signer_for(d, &with_default, rows[i].from), rows[i].with_default, "... default-domain");
	}
	free(with_default.default_domain);
}

static void
test_rules(void)
{
	char all[] = "default", own[] = "X-Own", from[] = "from";
	char *headers[] = { all, own }, *over[] = { from };
	struct conf_dkim c = { .sign = true, .headers = { headers, 2 }, .oversign = { over, 1 },
		.header_canon = CONF_CANON_relaxed, .body_canon = CONF_CANON_simple, .expire = 60,
		.default_domain = (char *)(uintptr_t)"B\xc3\xbc" "cher.test" };
	struct sign_rules r;

	sign_rules_init(&r, &c);
	ok(r.dkim.sign_default && r.dkim.sign.n == 1 && dkim_signs(&r.dkim, VIEW("x-own")) &&
	        dkim_signs(&r.dkim, VIEW("Subject")),
	    "default is the default list, the rest comes to it");
	is_str(r.default_domain, "xn--bcher-kva.test", "the default domain as A-labels");
	ok(r.dkim.header == DKIM_RELAXED && r.dkim.body == DKIM_SIMPLE && r.dkim.lifetime_s == 60, "forms");
	sign_rules_clear(&r);
	c.headers = (struct conf_list){ headers + 1, 1 };
	sign_rules_init(&r, &c);
	ok(!dkim_signs(&r.dkim, VIEW("Subject")) && dkim_signs(&r.dkim, VIEW("FROM")) &&
	        dkim_signs(&r.dkim, VIEW("List-Unsubscribe-Post")) && dkim_signs(&r.dkim, VIEW("X-Own")),
	    "K01 A23 a list of one's own always has From and List-Unsubscribe");
	sign_rules_clear(&r);
}

int
main(void)
{
	struct smtpd *d = x_calloc(1, sizeof(*d));

	test_material(d);
	test_alignment(d);
	test_rules();
	sign_keys_clear(&d->sign_keys);
	sign_keys_clear(&d->next_sign_keys);
	free(d);
	return done_testing();
}
