/* SPDX-License-Identifier: ISC */
/* What the generator sends: addresses, header, a body of text lines of the wanted size. */
#include "bench/source.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

enum { LINE_TEXT = 76 };

enum { NAMES = 10000 };

void
source_address(const char *pattern, uint64_t n, char out[SOURCE_ADDR_MAX + 16])
{
	size_t at = 0;

	for (const char *p = pattern; *p && at < SOURCE_ADDR_MAX + 15; p++) {
		size_t room = SOURCE_ADDR_MAX + 16 - at;
		int len = 0;
		if (p[0] == '%' && p[1] == 'd')
			len = snprintf(out + at, room, "%010llu", (unsigned long long)n);
		else if (p[0] == '%' && p[1] == 'n')
			len = snprintf(out + at, room, "%04llu", (unsigned long long)n % NAMES);
		else
			out[at++] = *p;
		if (len) {
			at += (size_t)len < room ? (size_t)len : room - 1;
			p++;
		}
	}
	out[at] = '\0';
}

size_t
source_header(const struct source *src, uint64_t n, uint64_t t_mail, char out[SOURCE_HEADER_MAX])
{
	char to[SOURCE_ADDR_MAX + 16];
	int len;

	source_address(src->opt.to, n * src->opt.recipients, to);
	len = snprintf(out, SOURCE_HEADER_MAX,
	    "From: <%s>\r\nTo: <%s>\r\nSubject: Measurement message %010llu\r\n"
	    "Date: %s\r\nMessage-ID: <%010llu.%s@mailsource.invalid>\r\n" NET_SENT_FIELD
	    "%020llu\r\n\r\n",
	    src->opt.from, to, (unsigned long long)n, src->date, (unsigned long long)n, src->run_id,
	    (unsigned long long)t_mail);
	return (size_t)len;
}

/* Lines of 76 characters; no line begins with a dot, and no CRLF is split. */
static void
fill_text(char *p, size_t len)
{
	static const char words[] =
	    "the quick brown fox jumps over the lazy dog and runs on to the "
	    "next station with the sash ";
	size_t col = 0, w = 0;

	while (len > 0) {
		if (len == 2 || (col == LINE_TEXT && len > 3)) {
			memcpy(p, "\r\n", 2);
			p += 2;
			len -= 2;
			col = 0;
			continue;
		}
		*p++ = words[w++ % (sizeof(words) - 1)];
		len--;
		col++;
	}
}

static int
body_build(struct source *src)
{
	char header[SOURCE_HEADER_MAX];
	size_t used = source_header(src, 0, 0, header), len = 2;

	if (src->opt.size_bytes > used + len)
		len = (size_t)src->opt.size_bytes - used;
	src->body = malloc(len + 3);
	if (src->body == NULL)
		return -1;
	fill_text(src->body, len);
	memcpy(src->body + len, ".\r\n", 3);
	src->body_len = len + 3;
	return 0;
}

/* "AUTH PLAIN base64(NUL user NUL secret)"; the user name ends at the first colon. */
static int
auth_build(struct source *src)
{
	static const char verb[] = "AUTH PLAIN ";
	const char *auth = src->opt.auth, *colon;
	size_t len = strlen(auth) + 1;
	unsigned char *raw;

	colon = strchr(auth, ':');
	raw = malloc(len + 1);
	src->auth_line = calloc(1, sizeof(verb) + 4 * (len / 3 + 1) + 3);
	if (colon == NULL || raw == NULL || src->auth_line == NULL) {
		free(raw);
		return -1;
	}
	raw[0] = '\0';
	memcpy(raw + 1, auth, len);
	raw[1 + (colon - auth)] = '\0';
	strcpy(src->auth_line, verb);
	EVP_EncodeBlock((unsigned char *)src->auth_line + sizeof(verb) - 1, raw, (int)len);
	strcat(src->auth_line, "\r\n");
	free(raw);
	return 0;
}

int
source_prepare(struct source *src)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(src->date, sizeof(src->date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	snprintf(src->run_id, sizeof(src->run_id), "%010lld.%010d", (long long)now, (int)getpid());
	if (body_build(src) == -1)
		return -1;
	if (src->opt.auth != NULL && auth_build(src) == -1)
		return -1;
	if (src->opt.starttls || src->opt.implicit_tls) {
		src->tls = net_tls_client();
		if (src->tls == NULL)
			return -1;
	}
	return 0;
}

void
source_release(struct source *src)
{
	free(src->body);
	free(src->auth_line);
	SSL_SESSION_free(src->ticket);
	SSL_CTX_free(src->tls);
}
