/* SPDX-License-Identifier: ISC */
/* One log line for a message: id, recipients, size, digests of the whole and of the body. */
#include "bench/sink.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/evp.h>

enum {
	HEADER_KEEP = 16384,
	RCPTS_KEEP = 65536,
	LINE_MAX_BYTES = RCPTS_KEEP + 2048,
};

struct sink_record {
	EVP_MD_CTX *whole, *body;
	bool line_start, in_body;
	char prev; /* last byte, to see CRLF alone on a line across two pieces */
	size_t line_len;
	char header[HEADER_KEEP + 1];
	size_t header_len;
	char rcpts[RCPTS_KEEP];
	size_t rcpts_len;
};

struct sink_record *
sink_record_new(void)
{
	struct sink_record *r = calloc(1, sizeof(*r));

	if (r == NULL)
		abort();
	r->whole = EVP_MD_CTX_new();
	r->body = EVP_MD_CTX_new();
	if (r->whole == NULL || r->body == NULL)
		abort();
	return r;
}

void
sink_record_free(struct sink_record *r)
{
	if (r == NULL)
		return;
	EVP_MD_CTX_free(r->whole);
	EVP_MD_CTX_free(r->body);
	free(r);
}

void
sink_record_begin(struct sink_record *r)
{
	EVP_DigestInit_ex(r->whole, EVP_sha256(), NULL);
	EVP_DigestInit_ex(r->body, EVP_sha256(), NULL);
	r->line_start = true;
	r->in_body = false;
	r->line_len = r->header_len = r->rcpts_len = 0;
}

static char
printable(char ch)
{
	return ch > ' ' && ch < 0x7f ? ch : '?';
}

void
sink_record_rcpt(struct sink_record *r, const char *addr, size_t len)
{
	size_t i;

	if (len + 1 > sizeof(r->rcpts) - r->rcpts_len)
		return;
	if (r->rcpts_len > 0)
		r->rcpts[r->rcpts_len++] = ',';
	for (i = 0; i < len; i++)
		r->rcpts[r->rcpts_len++] = printable(addr[i]);
}

static void
header_keep(struct sink_record *r, const char *data, size_t len)
{
	if (len > HEADER_KEEP - r->header_len)
		len = HEADER_KEEP - r->header_len;
	memcpy(r->header + r->header_len, data, len);
	r->header_len += len;
}

/* A piece of one line; complete when it ends with LF. */
static void
line_piece(struct sink_record *r, const char *data, size_t len)
{
	bool complete = data[len - 1] == '\n';

	EVP_DigestUpdate(r->whole, data, len);
	if (r->in_body)
		EVP_DigestUpdate(r->body, data, len);
	else
		header_keep(r, data, len);
	r->line_len += len;
	if (!complete)
		return;
	if (r->line_len == 2 && (len == 2 ? data[0] : r->prev) == '\r')
		r->in_body = true;
	r->line_len = 0;
}

void
sink_record_content(struct sink_record *r, const char *data, size_t len)
{
	const char *nl;
	size_t n;

	while (len > 0) {
		if (r->line_start && *data == '.') {
			r->line_start = false;
			data++;
			len--;
			continue;
		}
		nl = memchr(data, '\n', len);
		n = nl != NULL ? (size_t)(nl - data) + 1 : len;
		line_piece(r, data, n);
		r->line_start = nl != NULL;
		r->prev = data[n - 1];
		data += n;
		len -= n;
	}
}

static void
message_id(const struct sink_record *r, char *out, size_t cap)
{
	static const char name[] = "message-id:";
	const char *p = r->header, *end;
	size_t n = 0;

	while (p != NULL && strncasecmp(p, name, sizeof(name) - 1) != 0) {
		p = strchr(p, '\n');
		if (p != NULL)
			p++;
	}
	if (p != NULL) {
		p += sizeof(name) - 1;
		p += strspn(p, " \t\r\n");
		end = p + strcspn(p, " \t\r\n");
		while (p < end && n + 1 < cap)
			out[n++] = printable(*p++);
	}
	out[n] = '\0';
}

static void
hex(EVP_MD_CTX *ctx, char out[2 * EVP_MAX_MD_SIZE + 1])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0, i;

	EVP_DigestFinal_ex(ctx, md, &len);
	out[0] = '\0';
	for (i = 0; i < len; i++)
		snprintf(out + 2 * (size_t)i, 3, "%02x", md[i]);
}

void
sink_record_write(struct sink_record *r, uint64_t bytes, int fd)
{
	char line[LINE_MAX_BYTES], id[512], whole[2 * EVP_MAX_MD_SIZE + 1],
	    body[2 * EVP_MAX_MD_SIZE + 1];
	int n;

	r->header[r->header_len] = '\0';
	message_id(r, id, sizeof(id));
	hex(r->whole, whole);
	hex(r->body, body);
	n = snprintf(line, sizeof(line),
	    "message-id=%s rcpts=%.*s bytes=%llu sha256=%s body-sha256=%s\n", id, (int)r->rcpts_len,
	    r->rcpts, (unsigned long long)bytes, whole, body);
	if (write(fd, line, (size_t)n) != n)
		perror("mailsink: log");
}
