/* SPDX-License-Identifier: ISC */
/* The files of etc/groups.d and etc/throttle.d: which reply meets which block, and which domain which group. */
#include <glob.h>

#include "lib/conf.h"
#include "lib/ipc.h"
#include "lib/regex.h"
#include "lib/throttle.h"
#include "qmgr/group.h"
#include "t/tap.h"

/* In place of text that the servers fill in: 192.0.2.1 and addresses below example.jp. */
static const struct reply_row {
	const char *block; /* NULL: none */
	unsigned code;
	struct esc esc;
	enum smtp_stage stage;
	const char *host, *text;
} rows[] = {
	/* docomo */
	{ "docomo-session", 552, { 0 }, STAGE_RCPT, "mfsmax.docomo.ne.jp", "too many recipients" },
	{ "docomo-session", 554, { 0 }, STAGE_RCPT, "mfsmax.docomo.ne.jp", "Transaction failed" },
	{ "generic-carrier", 421, { 0 }, STAGE_GREETING, "mfsmax.docomo.ne.jp", "Service not available" },
	{ NULL, 550, { 5, 1, 1 }, STAGE_RCPT, "mfsmax.docomo.ne.jp", "Unknown user <a@docomo.ne.jp>" },
	{ NULL, 550, { 0 }, STAGE_EOD, "mfsmax.docomo.ne.jp", "Unknown user <a@docomo.ne.jp>" },
	{ NULL, 552, { 0 }, STAGE_RCPT, "mfsmax.docomo.ne.jp", "Too much mail data <a@docomo.ne.jp>" },
	{ NULL, 503, { 0 }, STAGE_RCPT, "mfsmax.docomo.ne.jp", "bad sequence of commands" },
	{ NULL, 500, { 0 }, STAGE_EOD, "mfsmax.docomo.ne.jp", "Line Too Long" },
	/* au */
	{ "generic-carrier", 450, { 0 }, STAGE_MAIL, "msmx.au.com", "come back" },
	{ NULL, 550, { 5, 1, 1 }, STAGE_RCPT, "msmx.au.com", "<a@au.com>: User unknown" },
	{ NULL, 550, { 0 }, STAGE_EOD, "msmx.au.com", ": User unknown" },
	{ NULL, 554, { 0 }, STAGE_DATA, "msmx.au.com", "Error: no valid recipients" },
	{ NULL, 554, { 0 }, STAGE_RCPT, "mx.ezweb.ne.jp", "<a@au.com>: Relay access denied" },
	{ NULL, 450, { 0 }, STAGE_RCPT, "mx.ezweb.ne.jp", "The user(s) account is temporarily over quota" },
	{ NULL, 450, { 0 }, STAGE_RCPT, "mx.ezweb.ne.jp", "The user(s) account is temporarily limited." },
	{ NULL, 450, { 0 }, STAGE_RCPT, "mx.ezweb.ne.jp", "The user(s) account is disabled." },
	/* SoftBank, and J:COM in its style */
	{ "session-full", 421, { 0 }, STAGE_MAIL, "mx.jcom.example", "#4.7.2 Too many messages for this session" },
	{ "generic-carrier", 450, { 4, 3, 0 }, STAGE_RCPT, "mx.k.vodafone.ne.jp", "no words that anybody knows" },
	{ "generic-connections", 421, { 0 }, STAGE_GREETING, "mx.softbank.ne.jp", "too many connections" },
	{ NULL, 452, { 4, 2, 2 }, STAGE_RCPT, "mx.softbank.ne.jp", "mailbox full" },
	{ NULL, 550, { 0 }, STAGE_RCPT, "mx.softbank.ne.jp", "Invalid recipient: <a@softbank.ne.jp>" },
	{ NULL, 553, { 0 }, STAGE_RCPT, "mx.softbank.ne.jp", "sender.example.jp does not exist" },
	/* Gmail */
	{ "gmail-rate", 421, { 4, 7, 28 }, STAGE_EOD, "gmail-smtp-in.l.google.com",
	    "Gmail has detected an unusual rate of mail originating from your IP address." },
	{ "gmail-rate", 421, { 4, 7, 28 }, STAGE_EOD, "aspmx2.googlemail.com",
	    "Too many messages with the same Message-ID" },
	{ "gmail-unsolicited", 421, { 4, 7, 0 }, STAGE_EOD, "aspmx.l.google.com",
	    "Our system has detected an unusual rate of unsolicited mail originating from your IP address." },
	{ "gmail-unsolicited", 421, { 4, 7, 0 }, STAGE_EOD, "aspmx.l.google.com",
	    "very low reputation of the sending IP address" },
	{ "gmail-later", 421, { 4, 7, 0 }, STAGE_MAIL, "aspmx.l.google.com", "Try again later, closing connection." },
	{ "gmail-user", 450, { 4, 2, 1 }, STAGE_RCPT, "aspmx.l.google.com",
	    "The user you are trying to contact is receiving mail too quickly." },
	{ "gmail-user", 450, { 4, 2, 1 }, STAGE_RCPT, "aspmx.l.google.com",
	    "receiving mail at a rate that prevents additional messages from being delivered." },
	{ "gmail-quota", 550, { 5, 4, 5 }, STAGE_EOD, "smtp.gmail.com", "Daily user sending quota exceeded." },
	{ NULL, 550, { 5, 1, 1 }, STAGE_RCPT, "aspmx.l.google.com",
	    "The email account that you tried to reach does not exist." },
	{ NULL, 550, { 5, 2, 1 }, STAGE_RCPT, "aspmx.l.google.com", "The email account is disabled" },
	{ NULL, 452, { 4, 2, 2 }, STAGE_RCPT, "aspmx.l.google.com",
	    "The recipient's inbox is out of storage space and inactive." },
	{ NULL, 552, { 5, 2, 2 }, STAGE_RCPT, "aspmx.l.google.com", "The email account is over quota." },
	{ NULL, 550, { 5, 7, 1 }, STAGE_RCPT, "aspmx.l.google.com", "email quota exceeded" },
	{ NULL, 550, { 5, 7, 1 }, STAGE_EOD, "aspmx.l.google.com", "this message is likely unsolicited mail." },
	{ NULL, 550, { 5, 7, 1 }, STAGE_EOD, "aspmx.l.google.com", "very low reputation of the sending domain" },
	{ NULL, 550, { 5, 7, 28 }, STAGE_EOD, "aspmx.l.google.com", "an unusual rate of unsolicited mail" },
	{ NULL, 421, { 4, 7, 26 }, STAGE_EOD, "aspmx.l.google.com",
	    "Your email has been rate limited because it is unauthenticated: neither SPF nor DKIM." },
	{ NULL, 421, { 4, 7, 27 }, STAGE_EOD, "aspmx.l.google.com", "rate limited because SPF did not pass" },
	{ NULL, 421, { 4, 7, 30 }, STAGE_EOD, "aspmx.l.google.com", "rate limited because DKIM did not pass" },
	{ NULL, 421, { 4, 7, 32 }, STAGE_EOD, "aspmx.l.google.com", "rate limited: DMARC alignment" },
	{ NULL, 451, { 4, 7, 24 }, STAGE_EOD, "aspmx.l.google.com", "The SPF record has suspicious entries." },
	{ NULL, 421, { 4, 7, 23 }, STAGE_EOD, "aspmx.l.google.com", "no PTR record: temporarily rate limited" },
	{ NULL, 421, { 4, 7, 29 }, STAGE_EOD, "aspmx.l.google.com", "not sent over TLS: rate limited" },
	{ NULL, 552, { 5, 3, 4 }, STAGE_EOD, "aspmx.l.google.com", "message exceeded size limits" },
	{ NULL, 554, { 5, 4, 6 }, STAGE_EOD, "aspmx.l.google.com", "Message exceeded 50 hops" },
	/* Yahoo */
	{ "yahoo-volume", 421, { 4, 7, 0 }, STAGE_MAIL, "mta5.am0.yahoodns.net",
	    "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - "
	    "4.16.55.1" },
	{ "yahoo-volume", 421, { 4, 7, 0 }, STAGE_MAIL, "mta5.am0.yahoodns.net", "[GL01] Message deferred - 4.16.50" },
	{ "yahoo-volume", 421, { 4, 7, 0 }, STAGE_MAIL, "mta5.am0.yahoodns.net", "[TS01] deferred - 4.16.55" },
	{ "yahoo-resources", 451, { 0 }, STAGE_EOD, "mta5.am0.yahoodns.net",
	    "Resources temporarily unavailable. Please try again later [#4.16.1]." },
	{ "yahoo-connection", 421, { 0 }, STAGE_MAIL, "mta5.am0.yahoodns.net", "Max message per connection reached" },
	{ "yahoo-user", 450, { 0 }, STAGE_RCPT, "mta5.am0.yahoodns.net", "User is receiving mail too quickly" },
	{ NULL, 553, { 5, 7, 2 }, STAGE_MAIL, "mta5.am0.yahoodns.net", "[TSS09] All messages permanently deferred" },
	{ NULL, 553, { 5, 7, 2 }, STAGE_MAIL, "mta5.am0.yahoodns.net", "[TSS11] All messages permanently deferred" },
	{ NULL, 553, { 5, 7, 1 }, STAGE_MAIL, "mta5.am0.yahoodns.net", "[BL21] Connections not accepted: Spamhaus" },
	{ NULL, 550, { 5, 7, 9 }, STAGE_EOD, "mta5.am0.yahoodns.net", "This mail requires SPF or DKIM" },
	{ NULL, 554, { 5, 7, 9 }, STAGE_EOD, "mta5.am0.yahoodns.net", "[PH01] Message not accepted for policy reasons" },
	{ NULL, 451, { 0 }, STAGE_MAIL, "mta5.am0.yahoodns.net", "unresolvable RFC.5321 from domain" },
	{ NULL, 554, { 0 }, STAGE_RCPT, "mta5.am0.yahoodns.net",
	    "delivery error: dd This user doesn't have a yahoo.com account" },
	{ NULL, 554, { 0 }, STAGE_RCPT, "mta5.am0.yahoodns.net", "30 Sorry, this mailbox is disabled (554.30)" },
	{ NULL, 554, { 0 }, STAGE_EOD, "mx1.mail.yahoo.co.jp",
	    "Message not allowed - DM Email not accepted for policy reasons." },
	/* Outlook and Exchange Online */
	{ "outlook-busy", 451, { 4, 7, 500 }, STAGE_MAIL, "a.mail.protection.outlook.com", "Server busy." },
	{ "outlook-busy", 451, { 4, 7, 651 }, STAGE_MAIL, "a.mail.protection.outlook.com", "Access denied, try later" },
	{ "outlook-reputation", 451, { 4, 7, 650 }, STAGE_MAIL, "b.olc.protection.outlook.com",
	    "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S775)" },
	{ "outlook-busy", 451, { 4, 7, 850 }, STAGE_MAIL, "a.mail.protection.outlook.com", "Access denied" },
	{ "outlook-busy", 451, { 4, 7, 899 }, STAGE_MAIL, "a.mail.protection.outlook.com", "Access denied" },
	{ "outlook-connections", 421, { 4, 3, 2 }, STAGE_GREETING, "a.mail.protection.outlook.com",
	    "The maximum number of concurrent connections per resource forest has exceeded a limit" },
	{ "outlook-recipient", 432, { 4, 3, 2 }, STAGE_EOD, "a.mail.protection.outlook.com",
	    "STOREDRV.Deliver; recipient thread limit exceeded" },
	{ "outlook-recipient", 550, { 5, 2, 121 }, STAGE_EOD, "a.mail.protection.outlook.com",
	    "The recipient's hourly message limit is exceeded" },
	{ "outlook-recipient", 550, { 5, 2, 122 }, STAGE_EOD, "a.mail.protection.outlook.com",
	    "The recipient has exceeded their limit for the number of messages they can receive per hour" },
	{ "outlook-server", 451, { 4, 7, 0 }, STAGE_MAIL, "a.mail.protection.outlook.com",
	    "Temporary server error. Please try again later. PRX4" },
	{ "outlook-server", 451, { 4, 7, 700 }, STAGE_EOD, "a.mail.protection.outlook.com", "PFA agent busy" },
	{ NULL, 550, { 5, 5, 0 }, STAGE_RCPT, "b.olc.protection.outlook.com",
	    "Requested action not taken: mailbox unavailable" },
	{ NULL, 550, { 5, 1, 10 }, STAGE_RCPT, "a.mail.protection.outlook.com", "Recipient not found" },
	{ NULL, 550, { 5, 4, 1 }, STAGE_RCPT, "a.mail.protection.outlook.com",
	    "Recipient address rejected: Access denied" },
	{ NULL, 550, { 5, 2, 2 }, STAGE_EOD, "a.mail.protection.outlook.com", "submission quota exceeded" },
	{ NULL, 550, { 5, 7, 1 }, STAGE_MAIL, "b.olc.protection.outlook.com",
	    "part of their network is on our block list (S3150)." },
	{ NULL, 550, { 0 }, STAGE_MAIL, "b.olc.protection.outlook.com", "SC-004 too many unwanted messages" },
	{ NULL, 550, { 5, 7, 606 }, STAGE_MAIL, "a.mail.protection.outlook.com", "Access denied, banned sending IP" },
	{ NULL, 550, { 5, 7, 509 }, STAGE_EOD, "a.mail.protection.outlook.com", "does not pass DMARC verification" },
	{ NULL, 451, { 4, 7, 26 }, STAGE_EOD, "a.mail.protection.outlook.com", "must pass SPF or DKIM" },
	/* iCloud */
	{ "icloud-volume", 550, { 5, 7, 1 }, STAGE_EOD, "mx01.mail.icloud.com", "rejected due to excessive volume" },
	{ "icloud-connections", 421, { 0 }, STAGE_GREETING, "mx01.mail.icloud.com", "not accepting connections" },
	{ NULL, 552, { 5, 2, 2 }, STAGE_RCPT, "mx01.mail.icloud.com", "user is over quota" },
	{ NULL, 550, { 5, 1, 1 }, STAGE_RCPT, "mx01.mail.icloud.com", "user does not exist" },
	{ NULL, 550, { 5, 1, 1 }, STAGE_RCPT, "mx01.mail.icloud.com", "inactive email address" },
	{ NULL, 554, { 5, 7, 1 }, STAGE_EOD, "mx01.mail.icloud.com", "due to local policy" },
	/* Anybody */
	{ "generic-connections", 421, { 4, 7, 0 }, STAGE_GREETING, "mx.example.jp", "Too many connections from your IP" },
	{ "generic-connections", 421, { 0 }, STAGE_GREETING, "mx.example.jp", "connection rate limit exceeded" },
	{ "generic-rate", 421, { 0 }, STAGE_RCPT, "mx.example.jp", "too many recipients" },
	{ "generic-rate", 450, { 4, 7, 1 }, STAGE_RCPT, "mx.example.jp", "try again slower" },
	{ "generic-rate", 451, { 0 }, STAGE_MAIL, "mx.example.jp", "Message rate-limited, please wait" },
	{ NULL, 452, { 4, 5, 3 }, STAGE_RCPT, "mx.example.jp", "too many recipients" },
	{ NULL, 450, { 4, 2, 0 }, STAGE_RCPT, "mx.example.jp", "<a@example.jp>: Recipient address rejected: Greylisted" },
	{ NULL, 450, { 4, 1, 1 }, STAGE_RCPT, "mx.example.jp", "unknown user" },
	{ NULL, 550, { 0 }, STAGE_RCPT, "mx.example.jp", "no such user" },
	{ NULL, 550, { 0 }, STAGE_RCPT, "mx.example.jp", "invalid recipient" },
	{ NULL, 550, { 0 }, STAGE_RCPT, "mx.example.jp", "mailbox not found" },
	{ NULL, 452, { 4, 2, 2 }, STAGE_RCPT, "mx.example.jp", "mailbox full" },
	{ NULL, 452, { 0 }, STAGE_RCPT, "mx.example.jp", "over quota" },
	{ NULL, 452, { 4, 3, 1 }, STAGE_MAIL, "mx.example.jp", "insufficient disk space" },
	{ NULL, 554, { 5, 7, 1 }, STAGE_RCPT, "mx.example.jp", "Client host rejected: blocked using bl.example" },
	{ NULL, 550, { 5, 7, 1 }, STAGE_EOD, "mx.example.jp", "spam refused" },
	{ NULL, 421, { 0 }, STAGE_GREETING, "mx.example.jp", "go away" },
	{ NULL, 450, { 4, 7, 25 }, STAGE_RCPT, "mx.example.jp", "cannot find your hostname" },
};

static const struct {
	const char *domain, *group;
} domains[] = {
	{ "docomo.ne.jp", "docomo" }, { "au.com", "au" }, { "ezweb.ne.jp", "au" }, { "softbank.ne.jp", "softbank" },
	{ "i.softbank.jp", "softbank" }, { "d.vodafone.ne.jp", "softbank" }, { "vodafone.ne.jp", "" },
	{ "gmail.com", "gmail" }, { "yahoo.com", "yahoo" }, { "yahoo.co.jp", "yahoo-japan" },
	{ "hotmail.com", "outlook" }, { "me.com", "icloud" }, { "example.jp", "" },
}, hosts[] = {
	{ "mfsmax.docomo.ne.jp", "docomo" }, { "msmx.au.com", "au" }, { "aspmx.l.google.com", "gmail" },
	{ "ASPMX2.GOOGLEMAIL.COM", "gmail" }, { "mta5.am0.yahoodns.net", "yahoo" },
	{ "mx1.mail.yahoo.co.jp", "yahoo-japan" }, { "hotmail-com.olc.protection.outlook.com", "outlook" },
	{ "example-jp.mail.protection.outlook.com", "exchange-online" }, { "mx01.mail.icloud.com", "icloud" },
	{ "mx.k.vodafone.ne.jp", "softbank" }, { "mail.google.com.example.jp", NULL },
};

static void
read_files(const char *pattern, struct buf *out)
{
	const char *src = getenv("EKIDEN_SRC");
	char path[1024], part[4096];
	glob_t g;
	size_t n;

	snprintf(path, sizeof(path), "%s/etc/%s", src ? src : ".", pattern);
	if (glob(path, 0, NULL, &g) != 0)
		return;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		FILE *f = fopen(g.gl_pathv[i], "r");
		while (f && (n = fread(part, 1, sizeof(part), f)) > 0)
			buf_put(out, part, n);
		if (f)
			fclose(f);
	}
	globfree(&g);
}

static void
test_replies(const struct conf *c)
{
	struct err e;
	struct throttles *t = throttles_new(c, &e);
	bool *met = x_calloc(c->throttle_count, sizeof(*met));

	for (size_t i = 0; t && i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct reply_row *r = &rows[i];
		const char *name = throttles_match(t, &(struct throttle_facts){ .code = (uint16_t)r->code,
			.esc = r->esc, .stage = r->stage, .text = view_str(r->text), .host = view_str(r->host) });
		is_str(name, r->block, "P2 %u %s (%s)", r->code, r->text, r->host);
		for (size_t k = 0; name && k < c->throttle_count; k++)
			met[k] |= !strcmp(name, c->throttle[k].name);
	}
	for (size_t k = 0; k < c->throttle_count; k++)
		ok(met[k] || c->throttle[k].action == CONF_ACTION_none, "a reply is known for throttle %s", c->throttle[k].name);
	throttles_free(&t);
	free(met);
}

/* The longest replies that smtp reads are no trouble for any shipped pattern. */
static void
test_long(const struct conf *c)
{
	static const char *const units[] = { "a", "too many ", "limit ", "limit limit rate ", "daily ", "\n" };
	struct buf text = BUF_INIT(16384);
	struct err e;
	unsigned cut = 0;

	for (size_t i = 0; i < c->throttle_count; i++) {
		struct regex *r = *c->throttle[i].text ? regex_new(view_str(c->throttle[i].text), &e) : NULL;
		for (size_t k = 0; r && k < sizeof(units) / sizeof(units[0]); k++) {
			buf_clear(&text);
			while (buf_len(&text) < 10000)
				buf_puts(&text, units[k]);
			if (regex_match(r, buf_view(&text)) == REGEX_CUT) {
				printf("# throttle %s with \"%s\" again and again\n", c->throttle[i].name, units[k]);
				cut++;
			}
		}
		regex_free(&r);
	}
	is_int(cut, 0, "no pattern is cut by the limit of work on a reply of 10,000 bytes");
	buf_free(&text);
}

static const char *
group_by_host(const struct groups *g, const char *host)
{
	struct buf b = BUF_INIT(1024);

	IPC_RECORD(&b, mx_host, .pref = 10, .name = view_str(host), .v4 = VIEW("\x7f\0\0\1"));
	const struct group *found = group_of_mx(g, buf_view(&b));
	buf_free(&b);
	return found ? found->name : NULL;
}

static void
test_groups(const struct conf *c)
{
	static const struct retry_rule retry;
	struct groups *g = groups_new(c, &retry);

	for (size_t i = 0; i < sizeof(domains) / sizeof(domains[0]); i++)
		is_str(group_of_domain(g, view_str(domains[i].domain))->name, domains[i].group, "J10 group of %s",
		    domains[i].domain);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		is_str(group_by_host(g, hosts[i].domain), hosts[i].group, "J10 group of what goes to %s",
		    hosts[i].domain);
	const struct group *au = group_by_name(g, VIEW("au")), *docomo = group_by_name(g, VIEW("docomo"));
	ok(au && au->rate.n == 10 && au->rate.per_ms == 60000, "J11 au is paced at 10/60s as shipped");
	ok(docomo && docomo->messages_per_connection * docomo->recipients_per_message <= 100,
	    "J5 never more than 100 recipients in a session of docomo");
	groups_free(&g);
}

int
main(void)
{
	struct buf text = BUF_INIT(1 << 20), words = BUF_INIT(65536);

	conf_regex_check = regex_check;
	read_files("groups.d/*.conf", &text);
	read_files("throttle.d/*.conf", &text);
	struct conf *c = conf_read_text(buf_view(&text), "shipped", &words);
	if (ok(c != NULL, "the shipped files are valid")) {
		ok(c->group_count >= 8 && c->throttle_count >= 15, "all of them");
		is_str(buf_cstr(&words), "", "J10 and say nothing to warn of");
		test_replies(c);
		test_long(c);
		test_groups(c);
	} else {
		printf("# %s\n", buf_cstr(&words));
	}
	conf_free(&c);
	buf_free(&text);
	buf_free(&words);
	return done_testing();
}
