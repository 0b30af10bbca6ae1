/* SPDX-License-Identifier: ISC */
/* The messages of SCRAM-SHA-256 (RFC 5802, RFC 7677). */
#include "lib/addr.h"
#include "smtpd/scram.h"
#include "t/tap.h"

#define OURS "%hvYDpWUa2RaTCAfuxFIlj)hN" /* 24 characters */
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static void
test_example(void)
{
	struct buf out = BUF_INIT(1024);
	struct scram s;

	scram_init(&s);
	is_int(scram_first(&s, VIEW("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), OURS), SCRAM_GOOD,
	    "G7 client-first-message of RFC 7677");
	is_view(buf_view(&s.user), "user", "its user");
	scram_challenge(&s, VIEW("0123456789abcdef"), 4096, &out);
	is_view(buf_view(&out),
	    "r=rOprNGfwEbeRWgbNEkqO" OURS ",s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
	    "G7 server-first-message");
	is_int(scram_final(&s, VIEW("c=biws,r=rOprNGfwEbeRWgbNEkqO" OURS ",p=" PROOF)), SCRAM_GOOD,
	    "G7 client-final-message");
	is_view(buf_view(&s.message),
	    "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO" OURS
	    ",s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO" OURS,
	    "G7 AuthMessage");
	is_int(s.proof[0], 0x74, "and the proof");
	scram_free(&s);
	buf_free(&out);
}

static void
test_first(void)
{
	static const struct {
		const char *text;
		enum scram_result result;
		const char *user, *what;
	} rows[] = {
		{ "y,,n=u,r=x", SCRAM_GOOD, "u", "a client that could bind channels" },
		{ "n,a=u,n=u,r=x", SCRAM_GOOD, "u", "authzid is the user" },
		{ "n,a=v,n=u,r=x", SCRAM_REFUSED, "", "authzid is another" },
		{ "n,,n=a=2Cb=3D,r=x", SCRAM_GOOD, "a,b=", "comma and equals sign in a name" },
		{ "n,,n=a=2cb,r=x", SCRAM_MALFORMED, "", "no such escape" },
		{ "n,,n=a=,r=x", SCRAM_MALFORMED, "", "half an escape" },
		{ "p=tls-exporter,,n=u,r=x", SCRAM_REFUSED, "", "channel binding was not offered" },
		{ "x,,n=u,r=x", SCRAM_MALFORMED, "", "unknown flag" },
		{ "n,,m=1,n=u,r=x", SCRAM_MALFORMED, "", "a mandatory extension" },
		{ "n,,n=u,r=x,a=1", SCRAM_GOOD, "u", "an extension" },
		{ "n,,n=u,r=x,1", SCRAM_MALFORMED, "", "no extension" },
		{ "n,,n=u,r=", SCRAM_MALFORMED, "", "no nonce" },
		{ "n,,n=u,r=a b", SCRAM_MALFORMED, "", "a blank in the nonce" },
		{ "n,,n=u", SCRAM_MALFORMED, "", "no nonce attribute" },
		{ "n,,r=x,n=u", SCRAM_MALFORMED, "", "wrong order" },
		{ "n", SCRAM_MALFORMED, "", "only a flag" },
		{ "n,", SCRAM_MALFORMED, "", "half a header" },
		{ "", SCRAM_MALFORMED, "", "nothing" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct scram s;
		scram_init(&s);
		is_int(scram_first(&s, view_str(rows[i].text), OURS), rows[i].result, "G7 %s",
		    rows[i].what);
		if (rows[i].result == SCRAM_GOOD)
			is_view(buf_view(&s.user), rows[i].user, "its user");
		scram_free(&s);
	}
	struct scram s;
	char longest[SCRAM_MESSAGE_MAX + 2];
	scram_init(&s);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "n,,n=u,r=", 9);
	is_int(scram_first(&s, view_of(longest, sizeof(longest)), OURS), SCRAM_MALFORMED, "too long");
	is_int(scram_first(&s, view_of(longest, 9 + SCRAM_NONCE_MAX + 1), OURS), SCRAM_MALFORMED,
	    "a nonce that is too long");
	is_int(scram_first(&s, VIEW("n,,n=a\0b,r=x"), OURS), SCRAM_MALFORMED, "atk-E3 NUL in a name");
	scram_free(&s);
}

static void
test_final(void)
{
	static const struct {
		const char *text;
		enum scram_result result;
		const char *what;
	} rows[] = {
		{ "c=biws,r=x" OURS ",p=" PROOF, SCRAM_GOOD, "as it should be" },
		{ "c=biws,r=x" OURS ",e=1,p=" PROOF, SCRAM_GOOD, "an extension" },
		{ "c=eSws,r=x" OURS ",p=" PROOF, SCRAM_REFUSED, "another header than was sent" },
		{ "c=biws,r=y" OURS ",p=" PROOF, SCRAM_REFUSED, "another nonce" },
		{ "c=biws,r=x,p=" PROOF, SCRAM_REFUSED, "only the client's nonce" },
		{ "c=biws,r=x" OURS, SCRAM_MALFORMED, "no proof" },
		{ "c=biws,r=x" OURS ",p=AAAA", SCRAM_MALFORMED, "a short proof" },
		{ "c=biws,r=x" OURS ",p=" PROOF "=", SCRAM_MALFORMED, "a proof in bad base64" },
		{ "c=biws,p=" PROOF, SCRAM_MALFORMED, "no nonce" },
		{ "p=" PROOF, SCRAM_MALFORMED, "the proof alone" },
		{ "", SCRAM_MALFORMED, "nothing" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = BUF_INIT(1024);
		struct scram s;
		scram_init(&s);
		scram_first(&s, VIEW("n,,n=u,r=x"), OURS);
		scram_challenge(&s, VIEW("salt"), 4096, &out);
		is_int(scram_final(&s, view_str(rows[i].text)), rows[i].result, "G7 final: %s",
		    rows[i].what);
		scram_free(&s);
		buf_free(&out);
	}
}

int
main(void)
{
	test_example();
	test_first();
	test_final();
	return done_testing();
}
