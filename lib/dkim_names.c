/* SPDX-License-Identifier: ISC */
/* What needs no arithmetic: for those who do not link the crypto library. */
#include <string.h>

#include "lib/dkim.h"

static const char *const algorithm_names[] = {
	[DKIM_RSA_SHA256] = "rsa-sha256",
	[DKIM_ED25519_SHA256] = "ed25519-sha256",
};

/* RFC 6376, 5.4.1, with what the Content-, List- and Resent- families hold. */
static const char *const default_fields[] = { "From", "To", "Cc", "Subject", "Date", "Message-ID",
	"Reply-To", "Sender", "MIME-Version", "Content-*", "List-*", "In-Reply-To", "References",
	"Resent-*" };

/* Whatever the setting says: RFC 6376, 5.4; RFC 8058, 3.1. */
static const char *const always_fields[] = { "From", "List-Unsubscribe", "List-Unsubscribe-Post" };

/* Added, removed or changed by every relay on the way. */
static const char *const never_fields[] = { "DKIM-Signature", "Received", "Return-Path",
	"Authentication-Results", "ARC-*", "Bcc", "Resent-Bcc" };

const char *
dkim_algorithm_name(enum dkim_algorithm a)
{
	return a >= DKIM_RSA_SHA256 && a <= DKIM_ED25519_SHA256 ? algorithm_names[a] : NULL;
}

bool
dkim_algorithm_parse(struct view v, enum dkim_algorithm *out)
{
	for (int a = DKIM_RSA_SHA256; a <= DKIM_ED25519_SHA256; a++) {
		struct view rest = view_str(algorithm_names[a]), first = view_cut(&rest, '-');
		if (view_is(v, algorithm_names[a]) || view_eq(v, first)) {
			*out = a;
			return true;
		}
	}
	return false;
}

/* Which fields. */

static bool
name_matches(struct view name, const char *pattern)
{
	size_t n = strlen(pattern);

	if (n && pattern[n - 1] == '*')
		return view_ieq(view_first(name, n - 1), view_of(pattern, n - 1));
	return view_iis(name, pattern);
}

static bool
matches_any(struct view name, const char *const *patterns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (name_matches(name, patterns[i]))
			return true;
	return false;
}

#define MATCHES(name, list) matches_any((name), (list), sizeof(list) / sizeof((list)[0]))

static bool
is_named(struct view name, const struct dkim_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		if (name_matches(name, names->v[i]))
			return true;
	return false;
}

bool
dkim_may_sign(struct view name)
{
	return !MATCHES(name, never_fields);
}

/* RFC 5322, 3.6.8: printable ASCII without the colon; a star stands at the end only. */
bool
dkim_name_valid(struct view name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ':' || name.p[i] == ';' ||
		    (name.p[i] == '*' && i + 1 < name.n))
			return false;
	return name.n > 0;
}

/* A semicolon may stand in a field name, but in h= it would end the list and begin a tag, such as l=. */
static bool
fits_into_h(struct view name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ':' || name.p[i] == ';')
			return false;
	return name.n > 0;
}

bool
dkim_signs(const struct dkim_rules *r, struct view name)
{
	if (!fits_into_h(name) || !dkim_may_sign(name))
		return false;
	if (MATCHES(name, always_fields) || is_named(name, &r->oversign))
		return true;
	return is_named(name, &r->sign) || (r->sign_default && MATCHES(name, default_fields));
}
