/* SPDX-License-Identifier: ISC */
/*
 * The configuration: one directive a line (or separated by ';'), blocks in braces, `include` with
 * globs, '#' comments, "quoted words". Grammar and meaning come from lib/conf_schema.h.
 *
 * Errors are "file:line:column: what is wrong", with the nearest valid name for an unknown one. All
 * errors of a file are collected, not only the first.
 */
#ifndef EKIDEN_CONF_H
#define EKIDEN_CONF_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/conf_schema.h"
#include "lib/err.h"

struct cidr {
	bool v6;
	uint8_t bits;
	uint8_t addr[16]; /* host bits are zero */
};

struct hostport {
	char *text;		     /* as written, normalised: "127.0.0.1:25", "[::1]:25" */
	struct sockaddr_storage addr; /* numeric addresses only */
	socklen_t len;
};

struct relay {
	char *host; /* NULL: not set. Without brackets */
	uint16_t port; /* 0: the default of its use */
	bool mx;
};

enum conf_auth_mode { AUTH_REQUIRED, AUTH_OPTIONAL, AUTH_NETWORKS, AUTH_NETWORKS_AND_KEY };

struct conf_list {
	char **v;
	size_t n;
};
struct conf_hostports {
	struct hostport *v;
	size_t n;
};
struct conf_rate {
	uint32_t n, per_s; /* n 0: no limit */
	bool set;	   /* false: left out */
};
struct conf_span {
	uint16_t from_min, to_min; /* of the day; from > to: over midnight */
};
struct conf_spans {
	struct conf_span *v;
	size_t n;
};
struct conf_member {
	char *name;
	uint32_t weight;
};
struct conf_members {
	struct conf_member *v;
	size_t n;
};
struct conf_zone {
	bool local;	  /* as the host */
	int32_t offset_s; /* else to UTC */
};
struct conf_cidrs {
	struct cidr *v;
	size_t n;
};
struct conf_auth {
	enum conf_auth_mode mode;
	struct conf_cidrs networks;
	char *tenant; /* of the trusted networks */
};

#define CONF_CHOICE_ENUM_tls(name, text) CONF_TLS_##name,
#define CONF_CHOICE_ENUM_policy(name, text) CONF_POLICY_##name,
#define CONF_CHOICE_ENUM_received(name, text) CONF_RECEIVED_##name,
#define CONF_CHOICE_ENUM_method(name, text) CONF_METHOD_##name,
#define CONF_CHOICE_ENUM_level(name, text) CONF_LEVEL_##name,
#define CONF_CHOICE_ENUM_header_from(name, text) CONF_HEADER_FROM_##name,
#define CONF_CHOICE_ENUM_duplicates(name, text) CONF_DUPLICATES_##name,
#define CONF_CHOICE_ENUM_version(name, text) CONF_VERSION_##name,
#define CONF_CHOICE_ENUM_canon(name, text) CONF_CANON_##name,
#define CONF_CHOICE_ENUM_unsigned(name, text) CONF_UNSIGNED_##name,
#define CONF_CHOICE_ENUM_reset(name, text) CONF_RESET_##name,
#define CONF_CHOICE_ENUM_hop_tls(name, text) CONF_HOP_TLS_##name,
#define CONF_CHOICE_ENUM_opt_flag(name, text) CONF_OPT_FLAG_##name,
#define CONF_CHOICE_ENUM_action(name, text) CONF_ACTION_##name,
#define CONF_CHOICE_ENUM_failure(name, text) CONF_FAILURE_##name,
#define CONF_CHOICE_DECLARE(c) enum conf_##c { CONF_CHOICE_##c(CONF_CHOICE_ENUM_##c) };
CONF_CHOICES(CONF_CHOICE_DECLARE)

typedef bool conf_t_flag;
typedef uint64_t conf_t_number, conf_t_size, conf_t_duration;
typedef int64_t conf_t_signed;
typedef char *conf_t_text, *conf_t_path; /* never NULL; "" when not set */
typedef struct conf_list conf_t_list;
typedef struct hostport conf_t_hostport;
typedef struct conf_hostports conf_t_hostports;
typedef struct relay conf_t_relay;
typedef struct conf_cidrs conf_t_cidrs;
typedef struct conf_auth conf_t_auth;
typedef uint64_t conf_t_opt_number, conf_t_opt_duration; /* 0: left out */
typedef struct conf_rate conf_t_rate;
typedef struct conf_spans conf_t_spans;
typedef struct conf_members conf_t_members;
typedef struct conf_zone conf_t_zone;
typedef enum conf_reset conf_t_choice_reset;
typedef enum conf_hop_tls conf_t_choice_hop_tls;
typedef enum conf_opt_flag conf_t_choice_opt_flag;
typedef enum conf_action conf_t_choice_action;
typedef enum conf_tls conf_t_choice_tls;
typedef enum conf_policy conf_t_choice_policy;
typedef enum conf_received conf_t_choice_received;
typedef enum conf_method conf_t_choice_method;
typedef enum conf_level conf_t_choice_level;
typedef enum conf_header_from conf_t_choice_header_from;
typedef enum conf_duplicates conf_t_choice_duplicates;
typedef enum conf_version conf_t_choice_version;
typedef enum conf_canon conf_t_choice_canon;
typedef enum conf_unsigned conf_t_choice_unsigned;
typedef enum conf_failure conf_t_choice_failure;

#define CONF_MEMBER(kind, field, directive, deflt, min, max, doc) conf_t_##kind field;
#define CONF_STRUCT_one(block)                                                                     \
	struct conf_##block {                                                                      \
		CONF_##block(CONF_MEMBER)                                                          \
	};
#define CONF_STRUCT_many(block)                                                                    \
	struct conf_##block {                                                                      \
		char *name;                                                                        \
		char *where; /* "file:line:column" of its beginning, for messages */               \
		CONF_##block(CONF_MEMBER)                                                          \
	};
#define CONF_STRUCT(kind, block) CONF_STRUCT_##kind(block)
CONF_BLOCKS(CONF_STRUCT)

#define CONF_HOLD_one(block) struct conf_##block block;
#define CONF_HOLD_many(block)                                                                      \
	struct conf_##block *block; /* array */                                                    \
	size_t block##_count;
#define CONF_HOLD(kind, block) CONF_HOLD_##kind(block)
struct conf {
	CONF_main(CONF_MEMBER)
	CONF_BLOCKS(CONF_HOLD)
};

/*
 * Reads and checks a file with its includes. NULL when anything is wrong; `errors` then holds one
 * line per error (without it: "file:line:column: text\n"). Warnings go to the same buf after a success.
 * Also checks what needs the host: that files exist, modes of secrets, known accounts. Defaults from the
 * host: its name; listeners mx, submission and smtps when no listen block is there; a certificate in
 * tls/ beside the file or from certbot when no certificate block is there.
 */
struct conf *conf_read_file(const char *path, struct buf *errors);
/*
 * Set by programs that link PCRE2: whether a pattern can be compiled. Others take that for granted: what they get
 * was checked.
 */
extern bool (*conf_regex_check)(struct view pattern, struct buf *why);
/*
 * From memory; `name` stands for the file in errors. Includes are refused. For daemons and fuzzing: any
 * bytes, in bounded time and memory. What depends on the host has no default here: host name, listeners
 * and certificate are those of the text.
 */
struct conf *conf_read_text(struct view text, const char *name, struct buf *errors);
/*
 * What can be read of a file, for commands that only need to find a running suite: wrong directives
 * keep their defaults, nothing is checked. NULL only when the file itself cannot be read.
 */
struct conf *conf_read_lenient(const char *path, struct buf *errors);
void conf_free(struct conf **c);
/*
 * The whole configuration as text that conf_read_text() reads back to an equal value: includes
 * expanded, defaults filled in when `all`, paths absolute.
 */
void conf_print(const struct conf *c, bool all, struct buf *out);
/* The commented sample file and the directive part of the manual page (mdoc), from the schema. */
void conf_print_sample(struct buf *out);
void conf_print_man(struct buf *out);
/* Value of "retry.a" or "listen submission.tls" as text; false when there is no such name. */
bool conf_value(const struct conf *c, const char *name, struct buf *out);

/*
 * Every directive with its value, in the order of the schema; names as conf_value() takes them.
 * Without `all` those that conf_print() would print then: what differs from the defaults.
 */
void conf_each(const struct conf *c, bool all,
    void (*visit)(void *ctx, const char *name, struct view value), void *ctx);

/* Literals that also commands take. false with nothing changed when malformed. */
bool conf_parse_duration(struct view v, uint64_t *seconds);
bool conf_parse_size(struct view v, uint64_t *bytes);
bool conf_parse_rate(struct view v, struct conf_rate *out);
/* "2026-12-31": days since 1970-01-01. false: no day. */
bool conf_parse_date(struct view v, uint32_t *day);
bool conf_parse_cidr(struct view v, struct cidr *out);
bool conf_parse_hostport(struct view v, struct hostport *out); /* out->text is owned */
/* "unix:PATH" or "inet:" and a hostport; `len` is 0 on failure. */
bool conf_parse_socket(struct view v, struct sockaddr_storage *out, socklen_t *len);
bool conf_parse_relay(struct view v, struct relay *out);       /* out->host is owned */
bool conf_host_valid(struct view v); /* a host name in ASCII, not an address */
bool cidr_match(const struct cidr *c, const struct sockaddr *sa);
bool cidrs_match(const struct conf_cidrs *list, const struct sockaddr *sa);

#endif
