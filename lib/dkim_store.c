/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/dkim_store.h"
#include "lib/durable.h"
#include "lib/log.h"

#define INDEX "index"
#define HEADING "# DKIM keys: domain selector algorithm state made since until. Written by mtactl dkim.\n"

static const char *const state_names[] = {
	[DKIM_PENDING] = "pending",
	[DKIM_ACTIVE] = "active",
	[DKIM_RETIRING] = "retiring",
};

const char *
dkim_state_name(enum dkim_state s)
{
	return state_names[s];
}

static bool
state_parse(struct view v, enum dkim_state *out)
{
	for (int s = DKIM_PENDING; s <= DKIM_RETIRING; s++)
		if (view_is(v, state_names[s])) {
			*out = s;
			return true;
		}
	return false;
}

bool
dkim_selector_valid(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] >= 'A' && v.p[i] <= 'Z')
			return false;
	return domain_valid(v, false) && !domain_is_literal(v);
}

void
dkim_store_dns_name(const struct dkim_entry *x, struct buf *out)
{
	buf_printf(out, "%s._domainkey.%s", x->selector, x->domain);
}

void
dkim_store_file(const struct dkim_entry *x, char out[static DKIM_FILE_MAX])
{
	/* Fits: parse_line() and dkim_store_add() look at the length. */
	struct buf b = BUF_INIT(DKIM_FILE_MAX - 1);

	dkim_store_dns_name(x, &b);
	buf_puts(&b, ".pem");
	memcpy(out, buf_cstr(&b), buf_len(&b) + 1);
	buf_free(&b);
}

static bool
names_ok(struct view domain, struct view selector)
{
	return domain_valid(domain, false) && dkim_selector_valid(selector) &&
	    domain.n + selector.n + strlen("._domainkey.") <= DKIM_DNS_NAME_MAX;
}

/* The index. */

static bool
parse_line(struct view line, struct dkim_entry *x)
{
	struct view domain = view_cut(&line, ' '), selector = view_cut(&line, ' ');
	struct view algorithm = view_cut(&line, ' '), state = view_cut(&line, ' ');
	struct view made = view_cut(&line, ' '), since = view_cut(&line, ' ');

	*x = (struct dkim_entry){ 0 };
	if (!names_ok(domain, selector) || !dkim_algorithm_parse(algorithm, &x->algorithm) ||
	    !state_parse(state, &x->state) || !view_u64(made, UINT32_MAX, &x->made_s) ||
	    !view_u64(since, UINT32_MAX, &x->since_s) || !view_u64(line, UINT32_MAX, &x->until_s))
		return false;
	x->domain = x_strndup(domain);
	x->selector = x_strndup(selector);
	return true;
}

static void
entry_append(struct dkim_store *s, const struct dkim_entry *x)
{
	if ((s->n & (s->n - 1)) == 0)
		s->v = x_realloc(s->v, s->n ? 2 * s->n : 1, sizeof(*s->v));
	s->v[s->n++] = *x;
}

static int
parse_index(struct dkim_store *s, struct view text, struct err *e)
{
	for (unsigned line = 1; text.n; line++) {
		struct view v = view_cut(&text, '\n');
		struct dkim_entry x;
		if (v.n == 0 || *v.p == '#')
			continue;
		if (s->n == DKIM_KEYS_MAX)
			return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s/" INDEX ":%u: more than %d keys",
			    s->path, line, DKIM_KEYS_MAX);
		if (!parse_line(v, &x))
			return err_set(e, ERR_PERM, ESC(5, 3, 5),
			    "%s/" INDEX ":%u: not a line of a key index: restore it from a backup, or "
			    "remove the line and make the key anew",
			    s->path, line);
		x.line = line;
		entry_append(s, &x);
	}
	return 0;
}

static int
read_index(struct dkim_store *s, struct err *e)
{
	struct buf text = BUF_INIT(DKIM_INDEX_MAX + 65536);
	int rc = 0;

	if (faccessat(s->dir, INDEX, F_OK, 0) == 0 || errno != ENOENT)
		rc = durable_read(s->dir, INDEX, DKIM_INDEX_MAX, &text, e);
	if (rc == 0)
		rc = parse_index(s, buf_view(&text), e);
	else
		err_wrap(e, "%s", s->path);
	buf_free(&text);
	return rc;
}

/* Nobody else may look into it, let alone change it. */
static int
check_folder(const struct dkim_store *s, struct err *e)
{
	struct stat st;

	if (fstat(s->dir, &st) < 0)
		return err_errno(e, "%s", s->path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s: belongs to user %u: chown it to root",
		    s->path, st.st_uid);
	if (st.st_mode & 077)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s: mode %04o lets others at it: chmod 700 it",
		    s->path, st.st_mode & 07777u);
	return 0;
}

int
dkim_store_open(struct dkim_store *s, const char *state_dir, bool change, struct err *e)
{
	struct buf path = BUF_INIT(8192);

	buf_printf(&path, "%s/dkim", state_dir);
	*s = (struct dkim_store){ .path = x_strdup(buf_cstr(&path)) };
	buf_free(&path);
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->dir < 0 && errno == ENOENT && !change)
		return 0;
	if (s->dir < 0) {
		err_errno(e, "%s", s->path);
		goto fail;
	}
	if (check_folder(s, e) < 0)
		goto fail;
	if (change && flock(s->dir, LOCK_EX) < 0) {
		err_errno(e, "%s: lock", s->path);
		goto fail;
	}
	if (read_index(s, e) == 0)
		return 0;
fail:
	dkim_store_close(s);
	return -1;
}

static void
entry_free(struct dkim_entry *x)
{
	free(x->domain);
	free(x->selector);
}

void
dkim_store_close(struct dkim_store *s)
{
	for (size_t i = 0; i < s->n; i++)
		entry_free(&s->v[i]);
	while (s->gone)
		free(s->gone_files[--s->gone]);
	free(s->gone_files);
	free(s->v);
	free(s->path);
	if (s->dir >= 0)
		close(s->dir);
	*s = (struct dkim_store){ .dir = -1 };
}

int
dkim_store_save(struct dkim_store *s, struct err *e)
{
	struct buf text = BUF_INIT(DKIM_INDEX_MAX);

	buf_puts(&text, HEADING);
	for (size_t i = 0; i < s->n; i++) {
		const struct dkim_entry *x = &s->v[i];
		buf_printf(&text, "%s %s %s %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", x->domain,
		    x->selector, dkim_algorithm_name(x->algorithm), state_names[x->state], x->made_s,
		    x->since_s, x->until_s);
	}
	int rc = text.bad ? err_set(e, ERR_PERM, ESC(5, 3, 5), "too many keys") :
			    durable_replace(s->dir, INDEX, buf_view(&text), e);
	buf_free(&text);
	if (rc < 0)
		return err_wrap(e, "%s", s->path);
	for (; s->gone; s->gone--) {
		char *file = s->gone_files[s->gone - 1];
		if (unlinkat(s->dir, file, 0) < 0 && errno != ENOENT)
			log_warn("%s/%s: %s", s->path, file, strerror(errno));
		free(file);
	}
	return 0;
}

struct dkim_entry *
dkim_store_find(const struct dkim_store *s, struct view domain, struct view selector)
{
	for (size_t i = 0; i < s->n; i++)
		if (view_is(domain, s->v[i].domain) && view_is(selector, s->v[i].selector))
			return &s->v[i];
	return NULL;
}

int
dkim_store_add(struct dkim_store *s, const struct dkim_entry *x, struct view pem, struct err *e)
{
	struct view domain = view_str(x->domain), selector = view_str(x->selector);
	char file[DKIM_FILE_MAX];

	if (!names_ok(domain, selector))
		return err_set(e, ERR_PERM, ESC(5, 3, 5),
		    "%s._domainkey.%s is not a name in the DNS, or has more than %d bytes", x->selector,
		    x->domain, DKIM_DNS_NAME_MAX);
	if (dkim_store_find(s, domain, selector))
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "%s has a key with the selector %s already",
		    x->domain, x->selector);
	if (s->n == DKIM_KEYS_MAX)
		return err_set(e, ERR_PERM, ESC(5, 3, 5), "more than %d keys", DKIM_KEYS_MAX);
	dkim_store_file(x, file);
	if (durable_replace(s->dir, file, pem, e) < 0)
		return err_wrap(e, "%s", s->path);
	struct dkim_entry own = *x;
	own.domain = x_strdup(x->domain);
	own.selector = x_strdup(x->selector);
	entry_append(s, &own);
	return 0;
}

void
dkim_store_remove(struct dkim_store *s, struct dkim_entry *x)
{
	size_t at = (size_t)(x - s->v);
	char file[DKIM_FILE_MAX];

	dkim_store_file(x, file);
	s->gone_files = x_realloc(s->gone_files, s->gone + 1, sizeof(*s->gone_files));
	s->gone_files[s->gone++] = x_strdup(file);
	entry_free(x);
	memmove(x, x + 1, (s->n - at - 1) * sizeof(*x));
	s->n--;
}

void
dkim_store_activate(struct dkim_store *s, struct dkim_entry *x, uint64_t now_s, uint64_t until_s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct dkim_entry *y = &s->v[i];
		if (y == x || y->state != DKIM_ACTIVE || y->algorithm != x->algorithm ||
		    strcmp(y->domain, x->domain))
			continue;
		y->state = DKIM_RETIRING;
		y->since_s = now_s;
		y->until_s = until_s;
	}
	x->state = DKIM_ACTIVE;
	x->since_s = now_s;
	x->until_s = 0;
}
