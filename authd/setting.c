/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "authd/policy.h"
#include "authd/setting.h"
#include "lib/conf.h"
#include "lib/loop.h"
#include "lib/rewrite.h"

enum { PRIORITY_MAX = 9, WEIGHT_MAX = 100 };

static uint32_t
get_u32(const void *at)
{
	uint32_t x;

	memcpy(&x, at, sizeof(x));
	return x;
}

static void
put_u32(void *at, uint32_t x)
{
	memcpy(at, &x, sizeof(x));
}

static const char *
put_text(const struct setting *s, struct view v, void *at)
{
	if (v.n >= s->size)
		return "a shorter text";
	memcpy(at, v.p, v.n);
	((char *)at)[v.n] = '\0';
	return NULL;
}

static void
text_of_text(const struct setting *s, const void *at, struct buf *out)
{
	(void)s;
	buf_puts(out, at);
}

static const char *
quota_set(const struct setting *s, struct view v, void *at)
{
	uint64_t x;
	bool dflt = s->choice != NULL;

	if (view_is(v, "none"))
		put_u32(at, dflt ? QUOTA_NONE : 0);
	else if (dflt && view_is(v, "default"))
		put_u32(at, 0);
	else if (view_u64(v, QUOTA_NONE - 1, &x) && x > 0)
		put_u32(at, (uint32_t)x);
	else
		return dflt ? "a number from 1 on, none or default" : "a number from 1 on, or none";
	return NULL;
}

static void
quota_text(const struct setting *s, const void *at, struct buf *out)
{
	uint32_t x = get_u32(at);

	if (x == QUOTA_NONE || (x == 0 && s->choice == NULL))
		buf_puts(out, "none");
	else if (x == 0)
		buf_puts(out, "default");
	else
		buf_printf(out, "%" PRIu32, x);
}

/* A list of networks in canonical form: "192.0.2.0/24,2001:db8::/32". */
static const char *
networks_set(const struct setting *s, struct view v, void *at)
{
	static const char wanted[] =
	    "a list of networks: ADDRESS or ADDRESS/BITS, zero behind the first BITS";
	struct buf list = BUF_INIT(s->size - 1);
	const char *wrong = NULL;

	while (v.n && wrong == NULL) {
		char text[INET6_ADDRSTRLEN];
		struct cidr c;
		bool last = view_index(v, ',') < 0;
		struct view one = view_cut(&v, ',');
		if (!conf_parse_cidr(view_trim(one), &c) || (!last && v.n == 0)) {
			wrong = wanted;
			break;
		}
		inet_ntop(c.v6 ? AF_INET6 : AF_INET, c.addr, text, sizeof(text));
		buf_printf(&list, "%s%s/%u", buf_len(&list) ? "," : "", text, c.bits);
	}
	if (wrong == NULL && list.bad)
		wrong = "a list of networks that fits into 1000 characters";
	if (wrong == NULL)
		wrong = put_text(s, buf_view(&list), at);
	buf_free(&list);
	return wrong;
}

static const char *
choice_set(const struct setting *s, struct view v, void *at)
{
	for (uint32_t i = 0; s->choice->words[i]; i++)
		if (view_is(v, s->choice->words[i])) {
			put_u32(at, i);
			return NULL;
		}
	return s->choice->wanted;
}

static void
choice_text(const struct setting *s, const void *at, struct buf *out)
{
	uint32_t x = get_u32(at), n = 0;

	while (s->choice->words[n])
		n++;
	if (x < n)
		buf_puts(out, s->choice->words[x]);
	else
		buf_printf(out, "%" PRIu32, x);
}

/* Bits by their names: "send,future"; none of them: "none". */
static const char *
bits_set(const struct setting *s, struct view v, void *at)
{
	uint32_t bits = 0;

	if (view_is(v, "none"))
		v = VIEW("");
	else if (v.n == 0)
		return s->choice->wanted;
	while (v.n) {
		struct view word = view_trim(view_cut(&v, ','));
		uint32_t i = 0;
		while (s->choice->words[i] && !view_is(word, s->choice->words[i]))
			i++;
		if (s->choice->words[i] == NULL)
			return s->choice->wanted;
		bits |= 1u << i;
	}
	put_u32(at, bits);
	return NULL;
}

static void
bits_text(const struct setting *s, const void *at, struct buf *out)
{
	uint32_t bits = get_u32(at);
	size_t before = buf_len(out);

	for (uint32_t i = 0; s->choice->words[i]; i++)
		if (bits & 1u << i)
			buf_printf(
			    out, "%s%s", buf_len(out) > before ? "," : "", s->choice->words[i]);
	if (buf_len(out) == before)
		buf_puts(out, "none");
}

static const char *
priority_set(const struct setting *s, struct view v, void *at)
{
	uint64_t x;

	(void)s;
	if (!view_u64(v, PRIORITY_MAX, &x))
		return "a number from 0 to 9";
	put_u32(at, (uint32_t)x);
	return NULL;
}

static void
priority_text(const struct setting *s, const void *at, struct buf *out)
{
	(void)s;
	buf_printf(out, "%" PRIu32, get_u32(at));
}

static const char *
weight_set(const struct setting *s, struct view v, void *at)
{
	uint64_t x;

	(void)s;
	if (!view_u64(v, WEIGHT_MAX, &x) || x == 0)
		return "a number from 1 to 100";
	put_u32(at, (uint32_t)x);
	return NULL;
}

static void
weight_text(const struct setting *s, const void *at, struct buf *out)
{
	uint32_t x = get_u32(at);

	(void)s;
	buf_printf(out, "%" PRIu32, x ? x : 1);
}

/* The configuration may get or lose it later: mail is not refused for that. */
static const char *
schedule_set(const struct setting *s, struct view v, void *at)
{
	if (v.n && !policy_tenant_name_ok(v))
		return "the name of a retry-schedule, or empty";
	return put_text(s, v, at);
}

/* Compared with the bytes of a sender: only what can occur there makes sense. */
static const char *
pattern_set(const struct setting *s, struct view v, void *at)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= 0x20 || v.p[i] >= 0x7f)
			return "ASCII characters without blanks (they stand for themselves)";
	return put_text(s, v, at);
}

bool
text_line_ok(struct view v, size_t max)
{
	if (v.n > max || !utf8_valid(v))
		return false;
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		bool c1 = c == 0xc2 && (unsigned char)v.p[i + 1] < 0xa0; /* U+0080 to U+009F */
		if (c < 0x20 || c == 0x7f || c1)
			return false;
	}
	return true;
}

static const char *
line_set(const struct setting *s, struct view v, void *at)
{
	if (!text_line_ok(v, s->size - 1))
		return "one line of up to 255 bytes";
	return put_text(s, v, at);
}

bool
time_parse(struct view v, uint64_t *wall_us)
{
	char text[24];
	struct tm tm = {.tm_mday = 1};

	if (v.n >= sizeof(text))
		return false;
	memcpy(text, v.p, v.n);
	text[v.n] = '\0';
	const char *end = strptime(text, "%Y-%m-%d", &tm);
	if (end && *end)
		end = strptime(end, "T%H:%M:%SZ", &tm);
	/* strptime() takes "2026-1-1", too. */
	if (end == NULL || *end || (v.n != 10 && v.n != 20))
		return false;
	time_t t = timegm(&tm);
	if (t <= 0)
		return false;
	*wall_us = (uint64_t)t * 1000000;
	return true;
}

void
time_text(uint64_t wall_us, struct buf *out)
{
	time_t t = (time_t)(wall_us / 1000000);
	char text[32];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf_puts(out, text);
}

static const char *
expiry_set(const struct setting *s, struct view v, void *at)
{
	uint64_t us = 0, seconds;

	(void)s;
	if (conf_parse_duration(v, &seconds) && seconds > 0 && seconds < UINT32_MAX)
		us = (clock_wall_us() / 1000000 + seconds) * 1000000;
	else if (!view_is(v, "never") && !time_parse(v, &us))
		return "never, a time such as 2026-12-31T00:00:00Z, or a duration from now on";
	memcpy(at, &us, sizeof(us));
	return NULL;
}

static void
expiry_text(const struct setting *s, const void *at, struct buf *out)
{
	uint64_t us;

	(void)s;
	memcpy(&us, at, sizeof(us));
	if (us == 0)
		buf_puts(out, "never");
	else
		time_text(us, out);
}

static const char *
flag_set(const struct setting *s, struct view v, void *at)
{
	(void)s;
	if (!view_is(v, "yes") && !view_is(v, "no"))
		return "yes or no";
	*(bool *)at = view_is(v, "yes");
	return NULL;
}

static void
flag_text(const struct setting *s, const void *at, struct buf *out)
{
	(void)s;
	buf_puts(out, *(const bool *)at ? "yes" : "no");
}

/* Two fields of a domain's record in one word; `at` is the first. */
static const char *
rewrite_set(const struct setting *s, struct view v, void *at)
{
	struct record_domain *d = (void *)((char *)at - s->offset);
	struct rewrite r = {.mode = REWRITE_UNSET};

	if (!view_is(v, "default") && !rewrite_parse(v, &r))
		return "keep, ADDRESS, @DOMAIN or default";
	d->rewrite = r.mode;
	memcpy(d->rewrite_to, r.to, sizeof(d->rewrite_to));
	return NULL;
}

static void
rewrite_text(const struct setting *s, const void *at, struct buf *out)
{
	const struct record_domain *d = (const void *)((const char *)at - s->offset);

	rewrite_print(d->rewrite, d->rewrite_to, out);
}

static const struct setting_kind quota = {quota_set, quota_text, true, false},
				 networks = {networks_set, text_of_text, false, true},
				 one_of = {choice_set, choice_text, false, false},
				 bits = {bits_set, bits_text, false, true},
				 priority = {priority_set, priority_text, true, false},
				 weight = {weight_set, weight_text, true, false},
				 schedule = {schedule_set, text_of_text, false, false},
				 pattern = {pattern_set, text_of_text, false, false},
				 line = {line_set, text_of_text, false, false},
				 expiry = {expiry_set, expiry_text, false, false},
				 flag = {flag_set, flag_text, false, false},
				 rewriting = {rewrite_set, rewrite_text, false, false};

static const struct setting_choice header_from = {
    "default, any or tenant", {"default", "any", "tenant"}};
static const struct setting_choice rights = {
    "a list of send, future and priority, or none", {"send", "future", "priority"}};
static const struct setting_choice over_quota = {
    "defer, reject or hold", {"defer", "reject", "hold"}};
/* A quota with a choice: what the configuration says is one of its values. */
static const struct setting_choice configured = {"", {NULL}};

#define SETTING(record, name, kind, field, choice)                                                 \
	{                                                                                          \
		name, &(kind), offsetof(struct record_##record, field),                            \
		    sizeof(((struct record_##record *)NULL)->field), choice                        \
	}
#define QUOTA_SETTINGS(record, choice)                                                             \
	SETTING(record, "quota-minute", quota, quota_minute, choice),                              \
	    SETTING(record, "quota-hour", quota, quota_hour, choice),                              \
	    SETTING(record, "quota-day", quota, quota_day, choice),                                \
	    SETTING(record, "rcpt-minute", quota, rcpt_minute, choice),                            \
	    SETTING(record, "rcpt-hour", quota, rcpt_hour, choice),                                \
	    SETTING(record, "rcpt-day", quota, rcpt_day, choice)

static const struct setting tenant_settings[] = {
    QUOTA_SETTINGS(tenant, &configured),
    SETTING(tenant, "networks", networks, networks, NULL),
    SETTING(tenant, "header-from", one_of, header_from, &header_from),
    SETTING(tenant, "weight", weight, weight, NULL),
};

static const struct setting key_settings[] = {
    SETTING(key, "rights", bits, rights, &rights),
    SETTING(key, "networks", networks, networks, NULL),
    SETTING(key, "pattern", pattern, pattern, NULL),
    SETTING(key, "expires", expiry, expires_us, NULL),
    QUOTA_SETTINGS(key, NULL),
    SETTING(key, "over-quota", one_of, over_quota, &over_quota),
    SETTING(key, "priority", priority, priority, NULL),
    SETTING(key, "retry", schedule, retry, NULL),
    SETTING(key, "note", line, note, NULL),
};

static const struct setting domain_settings[] = {
    {"rewrite", &rewriting, offsetof(struct record_domain, rewrite),
	offsetof(struct record_domain, changed_us) - offsetof(struct record_domain, rewrite), NULL},
    SETTING(domain, "hosted", flag, hosted, NULL),
    SETTING(domain, "bounce", flag, bounce, NULL),
};

#define TABLE(t)                                                                                   \
	{                                                                                          \
		t##_settings, sizeof(t##_settings) / sizeof((t##_settings)[0])                     \
	}
static const struct {
	const struct setting *v;
	size_t n;
} tables[STORE_TABLES] = {
    [STORE_tenant] = TABLE(tenant),
    [STORE_key] = TABLE(key),
    [STORE_domain] = TABLE(domain),
};

const struct setting *
settings_of(enum store_table t, size_t *count)
{
	*count = tables[t].n;
	return tables[t].v;
}

const char *
setting_put(const struct setting *s, struct view v, void *record)
{
	return s->kind->set(s, v, (char *)record + s->offset);
}

void
setting_text(const struct setting *s, const void *record, struct buf *out)
{
	s->kind->text(s, (const char *)record + s->offset, out);
}

void
setting_member(const struct setting *s, char out[static SETTING_NAME_MAX])
{
	size_t i = 0;

	for (; s->name[i] && i < SETTING_NAME_MAX - 1; i++)
		out[i] = s->name[i] == '-' ? '_' : s->name[i];
	out[i] = '\0';
}

const struct setting *
setting_covering(enum store_table t, size_t offset)
{
	size_t count;
	const struct setting *s = settings_of(t, &count);

	for (; count--; s++)
		if (offset >= s->offset && offset < s->offset + s->size)
			return s;
	return NULL;
}
