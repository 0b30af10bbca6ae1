/* SPDX-License-Identifier: ISC */
/* libopendkim as the judge; its only user. */
#include <stdlib.h>
#include <string.h>

#include <stdbool.h>
#include <sys/types.h>

#include <opendkim/dkim.h>

#include "mtactl/dkim.h"

static const char *
algorithm_of(DKIM_SIGINFO *sig)
{
	static const char *const names[] = { [DKIM_SIGN_RSASHA1] = "rsa-sha1",
		[DKIM_SIGN_RSASHA256] = "rsa-sha256", [DKIM_SIGN_ED25519SHA256] = "ed25519-sha256" };
	dkim_alg_t alg = DKIM_SIGN_UNKNOWN;

	if (dkim_sig_getsignalg(sig, &alg) != DKIM_STAT_OK || alg < 0 ||
	    (size_t)alg >= sizeof(names) / sizeof(names[0]) || names[alg] == NULL)
		return "?";
	return names[alg];
}

/* DKIM_CBSTAT (*)(DKIM *, DKIM_SIGINFO *, u_char *, size_t) */
static DKIM_CBSTAT
on_key(DKIM *dkim, DKIM_SIGINFO *sig, u_char *out, size_t size)
{
	const struct verifier *v = dkim_get_user_context(dkim);
	struct buf name = BUF_INIT(1024), record = BUF_INIT(RECORD_MAX);
	DKIM_CBSTAT rc = DKIM_CBSTAT_NOTFOUND;

	buf_printf(&name, "%s._domainkey.%s", (const char *)dkim_sig_getselector(sig),
	    (const char *)dkim_sig_getdomain(sig));
	if (v->lookup(v->ctx, buf_view(&name), &record) && !record.bad && buf_len(&record) < size) {
		memcpy(out, buf_cstr(&record), buf_len(&record) + 1);
		rc = DKIM_CBSTAT_CONTINUE;
	}
	buf_free(&name);
	buf_free(&record);
	return rc;
}

/* Header fields with their folds, without their last CRLF; then the body. */
static DKIM_STAT
feed(DKIM *dkim, struct view message)
{
	DKIM_STAT st = DKIM_STAT_OK;

	while (st == DKIM_STAT_OK && message.n && !view_starts(message, "\r\n")) {
		size_t n = 0;
		do {
			const char *lf = memchr(message.p + n, '\n', message.n - n);
			n = lf ? (size_t)(lf + 1 - message.p) : message.n;
		} while (n < message.n && (message.p[n] == ' ' || message.p[n] == '\t'));
		size_t ends = n >= 2 && message.p[n - 1] == '\n' && message.p[n - 2] == '\r' ? 2 : 0;
		st = dkim_header(dkim, (u_char *)(uintptr_t)message.p, n - ends);
		message = view_skip(message, n);
	}
	if (st == DKIM_STAT_OK)
		st = dkim_eoh(dkim);
	message = view_skip(message, 2);
	if (st == DKIM_STAT_OK && message.n)
		st = dkim_body(dkim, (u_char *)(uintptr_t)message.p, message.n);
	return st;
}

/* NULL: the signature is good. */
static const char *
judge(DKIM *dkim, DKIM_SIGINFO *sig)
{
	if (!(dkim_sig_getflags(sig) & DKIM_SIGFLAG_PROCESSED))
		dkim_sig_process(dkim, sig);
	if (DKIM_SIG_CHECK(sig))
		return NULL;
	DKIM_SIGERROR error = dkim_sig_geterror(sig);
	const char *why = dkim_sig_geterrorstr(error);
	if (error != DKIM_SIGERROR_OK && why)
		return why;
	return dkim_sig_getbh(sig) == DKIM_SIGBH_MISMATCH ? "the body was changed" :
							   "the signature is wrong";
}

static int
results(const struct verifier *v, DKIM *dkim)
{
	DKIM_SIGINFO **sigs = NULL;
	int count = 0, good = 0;

	if (dkim_getsiglist(dkim, &sigs, &count) != DKIM_STAT_OK)
		return 0;
	for (int i = 0; i < count; i++) {
		struct signature_result r = { view_str((const char *)dkim_sig_getdomain(sigs[i])),
			view_str((const char *)dkim_sig_getselector(sigs[i])), algorithm_of(sigs[i]),
			judge(dkim, sigs[i]) };
		good += r.why == NULL;
		v->result(v->ctx, &r);
	}
	return good;
}

static int
run(const struct verifier *v, DKIM_LIB *lib, struct view message, struct err *e)
{
	DKIM_STAT st;
	DKIM *dkim = dkim_verify(lib, (const unsigned char *)"mtactl", NULL, &st);
	int good;

	if (dkim == NULL)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "libopendkim: %s", dkim_getresultstr(st));
	dkim_set_user_context(dkim, (void *)(uintptr_t)v);
	st = feed(dkim, message);
	if (st == DKIM_STAT_OK)
		st = dkim_eom(dkim, NULL);
	switch (st) {
	case DKIM_STAT_OK:
	case DKIM_STAT_BADSIG:
	case DKIM_STAT_NOKEY:
	case DKIM_STAT_CANTVRFY:
	case DKIM_STAT_REVOKED:
	case DKIM_STAT_KEYFAIL:
		good = results(v, dkim);
		break;
	case DKIM_STAT_NOSIG:
		good = 0;
		break;
	default:
		good = err_set(e, ERR_PERM, ESC(5, 6, 0), "libopendkim: %s", dkim_getresultstr(st));
	}
	dkim_free(dkim);
	return good;
}

int
verify_message(const struct verifier *v, struct view message, struct err *e)
{
	DKIM_LIB *lib = dkim_init(NULL, NULL);

	if (lib == NULL)
		return err_set(e, ERR_BUG, ESC(5, 3, 0), "libopendkim cannot be used");
	dkim_set_key_lookup(lib, on_key);
	int good = run(v, lib, message, e);
	dkim_close(lib);
	return good;
}
