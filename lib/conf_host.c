/* SPDX-License-Identifier: ISC */
/* What a configuration takes from this host, and what it asks of it. For master and mtactl only. */
#include <errno.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf_table.h"
#include "lib/ipc.h"

/* Lines that were not written stand at the beginning of the main file. */
static void
parse_builtin(struct conf_parse *p, struct view text)
{
	size_t before = p->instance_count;

	conf_parse_text(p, p->main_file, text);
	for (size_t i = before; i < p->instance_count; i++) {
		struct conf_instance *in = &p->instances[i];
		size_t count;
		in->block->directives(&count);
		in->begin = (struct conf_pos){ p->main_file, 1, 1 };
		for (size_t k = 0; k < count; k++)
			if (in->set[k].line)
				in->set[k] = in->begin;
	}
}

void
conf_default_listeners(bool v6, struct buf *out)
{
	static const struct {
		const char *name;
		unsigned port;
		const char *more;
	} rows[] = {
		{ "mx", 25, "\ttls starttls\n\tauth optional\n" },
		{ "submission", 587, "\ttls starttls\n\tauth required\n" },
		{ "smtps", 465, "\ttls implicit\n\tauth required\n" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_printf(out, "listen %s {\n\taddress 0.0.0.0:%u", rows[i].name, rows[i].port);
		if (v6)
			buf_printf(out, " [::]:%u", rows[i].port);
		buf_printf(out, "\n%s}\n", rows[i].more);
	}
}

static void
default_listeners(struct conf_parse *p)
{
	struct buf text = BUF_INIT(4096);

	conf_default_listeners(access("/proc/net/if_inet6", F_OK) == 0, &text);
	parse_builtin(p, buf_view(&text));
	buf_free(&text);
}

/* The full name in /etc/hosts of a host that calls itself by a short one; no DNS is asked. */
static char *
full_name(const char *shortname)
{
	char *found = NULL;
	struct hostent *h;

	sethostent(0);
	while (found == NULL && (h = gethostent()) != NULL) {
		bool ours = !strcasecmp(h->h_name, shortname);
		for (char **a = h->h_aliases; *a && !ours; a++)
			ours = !strcasecmp(*a, shortname);
		const char *best = strchr(h->h_name, '.') ? h->h_name : NULL;
		for (char **a = h->h_aliases; *a && !best; a++)
			if (strchr(*a, '.'))
				best = *a;
		if (ours && best && strncasecmp(best, "localhost", 9) != 0)
			found = x_strdup(best);
	}
	endhostent();
	return found;
}

static void
default_hostname(struct conf_parse *p)
{
	struct conf_pos at = { p->main_file, 1, 1 };
	char name[256] = "", *full = NULL;

	if (gethostname(name, sizeof(name) - 1) < 0 || !conf_host_valid(view_str(name))) {
		conf_error(
		    p, at, "hostname: the system has no usable name: write \"hostname NAME\"");
		return;
	}
	if (strchr(name, '.') == NULL)
		full = full_name(name);
	if (full == NULL && strchr(name, '.') == NULL)
		conf_warn(p, at,
		    "hostname: the system's name \"%s\" has no domain: write \"hostname "
		    "%s.DOMAIN\"",
		    name, name);
	free(p->conf->hostname);
	p->conf->hostname = full ? full : x_strdup(name);
}

static bool
is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* "certificate default { ... }" for two files below a folder; false when one of them is missing. */
static bool
certificate_in(
    struct conf_parse *p, const char *folder, const char *chain_name, const char *key_name)
{
	struct buf chain = BUF_INIT(8192), key = BUF_INIT(8192), text = BUF_INIT(32768);

	buf_printf(&chain, "%s/%s", folder, chain_name);
	buf_printf(&key, "%s/%s", folder, key_name);
	bool found = is_file(buf_cstr(&chain)) && is_file(buf_cstr(&key));
	if (found) {
		buf_puts(&text, "certificate default {\n\tchain ");
		conf_lex_quote(&text, buf_view(&chain));
		buf_puts(&text, "\n\tkey ");
		conf_lex_quote(&text, buf_view(&key));
		buf_puts(&text, "\n}\n");
		parse_builtin(p, buf_view(&text));
	}
	buf_free(&chain);
	buf_free(&key);
	buf_free(&text);
	return found;
}

/* Our own place first, then certbot's. */
static void
default_certificate(struct conf_parse *p)
{
	struct buf folder = BUF_INIT(8192), chain = BUF_INIT(512), key = BUF_INIT(512);

	buf_printf(&folder, "%s/tls", p->dir);
	buf_printf(&chain, "%s.crt", p->conf->hostname);
	buf_printf(&key, "%s.key", p->conf->hostname);
	if (!certificate_in(p, buf_cstr(&folder), buf_cstr(&chain), buf_cstr(&key))) {
		buf_clear(&folder);
		buf_printf(&folder, "/etc/letsencrypt/live/%s", p->conf->hostname);
		certificate_in(p, buf_cstr(&folder), "fullchain.pem", "privkey.pem");
	}
	buf_free(&folder);
	buf_free(&chain);
	buf_free(&key);
}

/* The file behind "btree:" or "text:", in place; NULL when none is set. */
static const char *
transport_file(const struct conf *c)
{
	const char *colon = strchr(c->transport, ':');

	return colon ? colon + 1 : NULL;
}

static void
absolute_transport(struct conf_parse *p)
{
	struct conf *c = p->conf;
	const char *file = transport_file(c);
	struct buf b = BUF_INIT(4 * CONF_WORD_MAX);

	if (file == NULL || *file == '/' || *file == '\0')
		return;
	buf_put(&b, c->transport, (size_t)(file - c->transport));
	buf_printf(&b, "%s/%s", p->dir, file);
	free(c->transport);
	c->transport = x_strdup(buf_cstr(&b));
	buf_free(&b);
}

void
conf_host_defaults(struct conf_parse *p)
{
	if (*p->conf->hostname == '\0')
		default_hostname(p);
	if (p->conf->listen_count == 0)
		default_listeners(p);
	if (p->conf->certificate_count == 0)
		default_certificate(p);
	absolute_transport(p);
}

/* A file that must be there; not being allowed to look is an error for root only. */
static bool
stat_file(
    struct conf_parse *p, struct conf_pos at, const char *what, const char *path, struct stat *st)
{
	if (stat(path, st) < 0) {
		if (errno == EACCES && geteuid() != 0)
			conf_warn(p, at, "%s: %s: not checked: %s", what, path, strerror(errno));
		else
			conf_error(p, at, "%s: %s: %s", what, path, strerror(errno));
		return false;
	}
	if (!S_ISREG(st->st_mode)) {
		conf_error(p, at, "%s: %s: not a file", what, path);
		return false;
	}
	return true;
}

/* Nobody but its owner, root or this user, (and the group root) reads a secret or changes it. */
static void
check_secret(struct conf_parse *p, struct conf_pos at, const char *what, const char *path)
{
	struct stat st;

	if (!stat_file(p, at, what, path, &st) || !conf_file_trusted(p, at, path, &st))
		return;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		conf_error(p, at, "%s: %s: belongs to user %u", what, path, (unsigned)st.st_uid);
	if (st.st_mode & S_IRWXO || (st.st_mode & S_IRWXG && st.st_gid != 0))
		conf_error(p, at, "%s: %s: mode %04o lets others read it; chmod 600", what, path,
		    (unsigned)st.st_mode & 07777u);
}

static void
check_certificates(struct conf_parse *p)
{
	for (size_t i = 0; i < p->conf->certificate_count; i++) {
		const struct conf_certificate *c = &p->conf->certificate[i];
		const struct conf_instance *in = conf_instance_of(p, "certificate", i);
		struct conf_pos at = conf_where(p, in, "chain");
		struct stat st;
		if (*c->chain && stat_file(p, at, "chain", c->chain, &st))
			conf_file_trusted(p, at, c->chain, &st);
		if (*c->key)
			check_secret(p, conf_where(p, in, "key"), "key", c->key);
	}
}

static void
check_transport_file(struct conf_parse *p)
{
	const struct conf *c = p->conf;
	const char *file = transport_file(c);
	struct conf_pos at = conf_where(p, &p->instances[0], "transport");
	struct buf path = BUF_INIT(4 * CONF_WORD_MAX);
	struct stat st;

	if (file == NULL || *file == '\0')
		return;
	bool btree = view_starts(view_str(c->transport), "btree:");
	buf_printf(&path, "%s%s", file, btree ? ".db" : "");
	if (btree && stat(buf_cstr(&path), &st) < 0 && errno == ENOENT)
		conf_error(p, at, "transport: %s is missing: run mtactl map build %s",
		    buf_cstr(&path), file);
	else if (stat_file(p, at, "transport", buf_cstr(&path), &st))
		conf_file_trusted(p, at, buf_cstr(&path), &st);
	buf_free(&path);
}

/* A file with a default place: missing there is no error unless it was written or is needed. */
static void
check_optional(
    struct conf_parse *p, const char *block, const char *directive, const char *path, bool needed)
{
	const struct conf_instance *in = conf_instance_of(p, block, 0);
	struct conf_pos at = conf_where(p, in, directive);
	const struct conf_directive *d = conf_directive_find(in->block, view_str(directive));
	size_t count;
	bool asked = in->set[d - in->block->directives(&count)].line != 0;
	struct stat st;

	if (*path == '\0' && needed)
		conf_error(p, at, "%s: %s is needed", block, directive);
	else if (*path && (asked || needed))
		stat_file(p, at, directive, path, &st);
}

static void
check_folder_of(struct conf_parse *p, const char *directive, const char *path)
{
	struct conf_pos at = conf_where(p, conf_instance_of(p, "log", 0), directive);
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (slash == NULL || slash == path)
		return;
	char *dir = x_strndup(view_of(path, (size_t)(slash - path)));
	if (stat(dir, &st) < 0 && (errno != EACCES || geteuid() == 0))
		conf_error(p, at, "%s: folder %s: %s", directive, dir, strerror(errno));
	free(dir);
}

/* As root without uid-base every role has an account; what is missing is told in one line. */
static void
check_accounts(struct conf_parse *p)
{
	struct buf missing = BUF_INIT(1024);
	char name[64];

	if (geteuid() != 0 || p->conf->uid_base != 0)
		return;
	for (unsigned role = ROLE_SMTPD; role <= ROLE_DNSD; role++) {
		snprintf(name, sizeof(name), "ekiden-%s", role_name(role));
		if (getpwnam(name) == NULL)
			buf_printf(&missing, "%s%s", buf_len(&missing) ? ", " : "", name);
	}
	if (buf_len(&missing))
		conf_error(p, conf_where(p, &p->instances[0], "uid-base"),
		    "accounts are missing: %s: create them, or set uid-base", buf_cstr(&missing));
	buf_free(&missing);
}

void
conf_host_check(struct conf_parse *p)
{
	const struct conf *c = p->conf;

	check_certificates(p);
	if (*c->relay_secret)
		check_secret(p, conf_where(p, &p->instances[0], "relay-secret"), "relay-secret",
		    c->relay_secret);
	check_transport_file(p);
	check_optional(
	    p, "delivery", "trust", c->delivery.trust, c->delivery.tls == CONF_POLICY_verify);
	check_optional(p, "resolver", "root-key", c->resolver.root_key, false);
	check_folder_of(p, "file", c->log.file);
	check_folder_of(p, "events", c->log.events);
	check_accounts(p);
}
