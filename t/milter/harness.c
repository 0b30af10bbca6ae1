/* SPDX-License-Identifier: ISC */
/*
 * A milter on libmilter: an implementation of the protocol that is not ours, with every callback. It writes
 * what it is told, one line each, and does what the mail asks for.
 *
 *	harness SOCKET [STEPS [SYMBOLS]]
 *
 * STEPS (hex): SMFIP_* to ask for. SYMBOLS: the macros wanted at every stage. A HELO name, an address, or
 * the X-Do-At field of a header "STAGE VERB" says "reject", "tempfail", "discard", "accept", "reply" or
 * "sleep" at that stage: as HELO name, or as local part "VERB-..." of the sender or recipient.
 * Each field "X-Do: EDIT ARGS" is an edit at the end of the message.
 */
#include <libmilter/mfapi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EDITS_MAX = 32 };

struct state {
	char *edits[EDITS_MAX];
	int count;
	char at[32], verb[32];
	size_t body;
};

static unsigned long steps_wanted;
static char *symbols;

static void __attribute__((format(printf, 1, 2)))
say(const char *fmt, ...)
{
	va_list ap;

	flockfile(stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	funlockfile(stdout);
}

static void
say_macros(SMFICTX *ctx, const char *stage)
{
	static const char *const names[] = { "j", "_", "v", "i", "{daemon_name}", "{daemon_addr}", "{daemon_port}",
		"{if_addr}", "{client_addr}", "{client_name}", "{client_port}", "{tls_version}", "{cipher}",
		"{cipher_bits}", "{auth_type}", "{auth_authen}", "{mail_addr}", "{mail_host}", "{rcpt_addr}",
		"{rcpt_host}" };
	char text[2048] = "";
	size_t n = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *v = smfi_getsymval(ctx, (char *)(uintptr_t)names[i]);
		if (v)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " %s=%s", names[i], v);
	}
	say("macros %s%s", stage, text);
}

static struct state *
state_of(SMFICTX *ctx)
{
	struct state *s = smfi_getpriv(ctx);

	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		smfi_setpriv(ctx, s);
	}
	return s;
}

static void
forget(SMFICTX *ctx)
{
	struct state *s = smfi_getpriv(ctx);

	if (s == NULL)
		return;
	for (int i = 0; i < s->count; i++)
		free(s->edits[i]);
	free(s);
	smfi_setpriv(ctx, NULL);
}

static sfsistat
verdict(SMFICTX *ctx, const char *verb, unsigned long no_reply)
{
	if (!strncmp(verb, "reject", 6))
		return SMFIS_REJECT;
	if (!strncmp(verb, "tempfail", 8))
		return SMFIS_TEMPFAIL;
	if (!strncmp(verb, "discard", 7))
		return SMFIS_DISCARD;
	if (!strncmp(verb, "accept", 6))
		return SMFIS_ACCEPT;
	if (!strncmp(verb, "skip", 4))
		return SMFIS_SKIP;
	if (!strncmp(verb, "reply", 5)) {
		smfi_setmlreply(ctx, "552", "5.6.7", "first line 100%", "second line", NULL);
		return SMFIS_REJECT;
	}
	if (!strncmp(verb, "sleep", 5))
		sleep(3);
	return steps_wanted & no_reply ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

static sfsistat
at_stage(SMFICTX *ctx, const char *stage, unsigned long no_reply)
{
	struct state *s = state_of(ctx);

	return verdict(ctx, strcmp(s->at, stage) ? "" : s->verb, no_reply);
}

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
    unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	(void)f2, (void)f3;
	say("negotiate actions=%lx steps=%lx", f0, f1);
	*pf0 = f0 & SMFI_CURR_ACTS;
	*pf1 = f1 & steps_wanted;
	*pf2 = *pf3 = 0;
	for (int stage = SMFIM_FIRST; symbols && stage <= SMFIM_LAST; stage++)
		smfi_setsymlist(ctx, stage, symbols);
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *sa)
{
	say("connect %s family=%d", name, sa ? sa->sa_family : -1);
	say_macros(ctx, "connect");
	return verdict(ctx, getenv("AT_CONNECT") ? getenv("AT_CONNECT") : "", SMFIP_NR_CONN);
}

static sfsistat
on_helo(SMFICTX *ctx, char *name)
{
	say("helo %s", name);
	say_macros(ctx, "helo");
	return verdict(ctx, name, SMFIP_NR_HELO);
}

static void
say_args(const char *what, char **argv)
{
	char text[1024] = "";

	for (size_t n = 0; *argv; argv++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", *argv);
	say("%s%s", what, text);
}

static sfsistat
on_mail(SMFICTX *ctx, char **argv)
{
	forget(ctx);
	say_args("mail", argv);
	say_macros(ctx, "mail");
	return verdict(ctx, argv[0] + 1, SMFIP_NR_MAIL);
}

static sfsistat
on_rcpt(SMFICTX *ctx, char **argv)
{
	say_args("rcpt", argv);
	say_macros(ctx, "rcpt");
	return verdict(ctx, argv[0] + 1, SMFIP_NR_RCPT);
}

static sfsistat
on_data(SMFICTX *ctx)
{
	say("data");
	return at_stage(ctx, "data", SMFIP_NR_DATA);
}

static sfsistat
on_unknown(SMFICTX *ctx, const char *line)
{
	say("unknown %s", line);
	return verdict(ctx, strstr(line, "REPLY") ? "reply" : "", SMFIP_NR_UNKN);
}

static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	struct state *s = state_of(ctx);
	char flat[2048];
	size_t n = 0;

	for (char *p = value; *p && n + 3 < sizeof(flat); p++) {
		if (*p == '\n' || *p == '\r')
			flat[n++] = '\\';
		flat[n++] = *p == '\n' ? 'n' : *p == '\r' ? 'r' : *p;
	}
	flat[n] = '\0';
	say("header [%s][%s]", name, flat);
	if (*value == ' ')
		value++;
	if (!strcmp(name, "X-Do") && s->count < EDITS_MAX)
		s->edits[s->count++] = strdup(value);
	if (!strcmp(name, "X-Do-At"))
		sscanf(value, "%31s %31s", s->at, s->verb);
	return at_stage(ctx, "header", SMFIP_NR_HDR);
}

static sfsistat
on_eoh(SMFICTX *ctx)
{
	say("eoh");
	say_macros(ctx, "eoh");
	return at_stage(ctx, "eoh", SMFIP_NR_EOH);
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *p, size_t n)
{
	struct state *s = state_of(ctx);

	(void)p;
	s->body += n;
	say("body %zu", n);
	return at_stage(ctx, "body", SMFIP_NR_BODY);
}

/* "\n" in an argument is a line feed, "\t" a tab. */
static void
unescape(char *v)
{
	char *to = v;

	for (; *v; v++) {
		if (*v == '\\' && (v[1] == 'n' || v[1] == 't'))
			*to++ = *++v == 'n' ? '\n' : '\t';
		else
			*to++ = *v;
	}
	*to = '\0';
}

static int
replace_body(SMFICTX *ctx, size_t lines)
{
	static char line[] = "A line of the body that a milter has put in place of the other one.\r\n";
	size_t n = lines * (sizeof(line) - 1);
	char *all = malloc(n + 1);

	for (size_t i = 0; i < lines; i++)
		memcpy(all + i * (sizeof(line) - 1), line, sizeof(line) - 1);
	int rc = smfi_replacebody(ctx, (unsigned char *)all, (int)n);
	free(all);
	return rc;
}

static int
edit(SMFICTX *ctx, char *what)
{
	char *args = strchr(what, ' ');
	char *second = args ? strchr(args + 1, ' ') : NULL;
	char *third = second ? strchr(second + 1, ' ') : NULL;

	if (args)
		*args++ = '\0';
	if (!strcmp(what, "add") && second) {
		*second++ = '\0';
		unescape(second);
		return smfi_addheader(ctx, args, second);
	}
	if ((!strcmp(what, "insert") || !strcmp(what, "change")) && second) {
		*second++ = '\0';
		if (third)
			*third++ = '\0';
		if (third)
			unescape(third);
		return *what == 'i' ? smfi_insheader(ctx, atoi(args), second, third) :
				      smfi_chgheader(ctx, second, atoi(args), third);
	}
	if (!strcmp(what, "body"))
		return replace_body(ctx, (size_t)atol(args));
	if (!strcmp(what, "addrcpt"))
		return smfi_addrcpt(ctx, args);
	if (!strcmp(what, "addrcpt-par"))
		return smfi_addrcpt_par(ctx, args, NULL);
	if (!strcmp(what, "delrcpt"))
		return smfi_delrcpt(ctx, args);
	if (!strcmp(what, "from"))
		return smfi_chgfrom(ctx, args, NULL);
	if (!strcmp(what, "quarantine"))
		return smfi_quarantine(ctx, args);
	if (!strcmp(what, "progress")) {
		sleep((unsigned)atoi(args));
		return smfi_progress(ctx);
	}
	return MI_FAILURE;
}

static sfsistat
on_eom(SMFICTX *ctx)
{
	struct state *s = state_of(ctx);

	say("eom body=%zu", s->body);
	say_macros(ctx, "eom");
	for (int i = 0; i < s->count; i++)
		say("edit %s: %d", s->edits[i], edit(ctx, s->edits[i]));
	return at_stage(ctx, "eom", 0);
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	forget(ctx);
	say("abort");
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	forget(ctx);
	say("close");
	return SMFIS_CONTINUE;
}

int
main(int argc, char **argv)
{
	struct smfiDesc desc = { .xxfi_name = (char *)(uintptr_t)"test", .xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFI_CURR_ACTS, .xxfi_connect = on_connect, .xxfi_helo = on_helo,
		.xxfi_envfrom = on_mail, .xxfi_envrcpt = on_rcpt, .xxfi_header = on_header,
		.xxfi_eoh = on_eoh, .xxfi_body = on_body, .xxfi_eom = on_eom, .xxfi_abort = on_abort,
		.xxfi_close = on_close, .xxfi_unknown = on_unknown, .xxfi_data = on_data,
		.xxfi_negotiate = on_negotiate };

	if (argc < 2)
		return 2;
	if (argc > 2)
		steps_wanted = strtoul(argv[2], NULL, 16);
	symbols = argc > 3 ? argv[3] : NULL;
	signal(SIGPIPE, SIG_IGN);
	if (smfi_setconn(argv[1]) == MI_FAILURE || smfi_register(desc) == MI_FAILURE ||
	    smfi_opensocket(1) == MI_FAILURE)
		return 1;
	say("listening");
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}
