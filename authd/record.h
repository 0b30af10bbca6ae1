/* SPDX-License-Identifier: ISC */
/*
 * What authd keeps on disk, declared once: struct, encoder and decoder are expanded from these
 * lists.
 *
 * R(tag, kind, field, bytes). Kinds: flag, u32, u64 | text up to `bytes` long, without NUL | bytes
 * exactly `bytes` long, or all zero for "not set".
 * A value is: u8 version, then per field u16 tag, u16 length, content; integers big-endian; a field
 * that is zero or empty is left out. Tags ascend, here and on disk, and are never reused. An
 * unknown tag is skipped, so that an older program reads what a newer one wrote; the version
 * changes only if that is not enough.
 */
#ifndef EKIDEN_AUTHD_RECORD_H
#define EKIDEN_AUTHD_RECORD_H

#include "lib/rewrite.h"

enum {
	NAME_BYTES = 64,   /* tenant, key user */
	NOTE_BYTES = 255,
	DOMAIN_BYTES = 255,
	TOKEN_BYTES = 64,
	SALT_BYTES = 16,
	DIGEST_BYTES = 32, /* SHA-256 */
	NETWORKS_BYTES = 1000,
	PATTERN_BYTES = 255,
	ADDRESS_BYTES = 320,
	REASON_BYTES = 255,
	COMMAND_BYTES = 64,
	WHAT_BYTES = 2000,
	RECORD_BYTES = 4096
};

/* Values of fields; 0 is what a field has that was never set. */
enum { RIGHT_SEND = 1, RIGHT_FUTURE = 2, RIGHT_PRIORITY = 4 };
enum over_quota { OVER_DEFER = 0, OVER_REJECT = 1, OVER_HOLD = 2 };
enum header_from { HEADER_FROM_DEFAULT = 0, HEADER_FROM_ANY = 1, HEADER_FROM_TENANT = 2 };
/* Of a quota: no limit, whatever the configuration says. */
#define QUOTA_NONE UINT32_MAX

/*
 * Quotas by messages and by recipients, in a minute, an hour and 24 hours. 0: of a tenant, what the
 * configuration says; of a key, no limit of its own beside the tenant's.
 */
#define RECORD_QUOTAS(R, first)                                                                    \
	R((first) + 0, u32, quota_minute, 4)                                                       \
	R((first) + 1, u32, quota_hour, 4)                                                         \
	R((first) + 2, u32, quota_day, 4)                                                          \
	R((first) + 3, u32, rcpt_minute, 4)                                                        \
	R((first) + 4, u32, rcpt_hour, 4)                                                          \
	R((first) + 5, u32, rcpt_day, 4)

/* Containment: nothing new is taken. The reason is for the admin. */
#define RECORD_FROZEN(R, first)                                                                    \
	R((first) + 0, flag, frozen, 1)                                                            \
	R((first) + 1, text, frozen_reason, REASON_BYTES)                                          \
	R((first) + 2, u64, frozen_us, 8)

/* Key: the tenant's name. */
#define RECORD_tenant(R)                                                                           \
	R(1, flag, enabled, 1)                                                                     \
	R(2, u64, created_us, 8)                                                                   \
	R(3, u32, created_by, 4) /* user id of the admin */                                        \
	R(4, u64, changed_us, 8)                                                                   \
	R(5, u32, changed_by, 4)                                                                   \
	RECORD_QUOTAS(R, 6)                                                                        \
	R(12, text, networks, NETWORKS_BYTES) /* CIDR list; empty: from anywhere (A8) */           \
	R(13, u32, header_from, 4)	      /* enum header_from */                               \
	RECORD_FROZEN(R, 14)                                                                       \
	R(17, u32, weight, 4) /* of its turns in a queue, 1-100; 0: 1 */

/* Key: the user name. Stays for ever, so that no name is issued twice (A5). */
#define RECORD_key(R)                                                                              \
	R(1, text, tenant, NAME_BYTES)                                                             \
	R(2, flag, revoked, 1) /* the secrets' fields are gone then */                             \
	R(3, flag, orphan, 1)  /* its tenant was deleted: not in the index */                      \
	R(4, u64, created_us, 8)                                                                   \
	R(5, u32, created_by, 4)                                                                   \
	R(6, u64, revoked_us, 8)                                                                   \
	R(7, u32, revoked_by, 4)                                                                   \
	R(8, text, note, NOTE_BYTES)                                                               \
	R(9, bytes, salt, SALT_BYTES)                                                              \
	R(10, bytes, hash, DIGEST_BYTES) /* SHA-256(salt, secret) */                               \
	R(11, bytes, scram_salt, SALT_BYTES)                                                       \
	R(12, u32, scram_iterations, 4)                                                            \
	R(13, bytes, scram_stored_key, DIGEST_BYTES) /* RFC 5802, 3 */                             \
	R(14, bytes, scram_server_key, DIGEST_BYTES)                                               \
	R(15, u32, serial, 4) /* names the key in tokens: unique, never reused, not 0 */           \
	R(16, u32, rights, 4) /* RIGHT_* */                                                        \
	R(17, text, networks, NETWORKS_BYTES)                                                      \
	R(18, text, pattern, PATTERN_BYTES) /* A13-A16: part of a sender; "@": each; empty: none */ \
	R(19, u64, expires_us, 8)           /* 0: never */                                         \
	RECORD_QUOTAS(R, 20)                                                                       \
	R(26, u32, over_quota, 4) /* enum over_quota */                                            \
	R(27, u32, priority, 4)                                                                    \
	RECORD_FROZEN(R, 28)                                                                       \
	R(31, u64, changed_us, 8)                                                                  \
	R(32, u32, changed_by, 4)                                                                  \
	R(33, u64, rotated_us, 8)                                                                  \
	/* The verifier before the last rotation, good until then (A7). */                         \
	R(34, u64, former_until_us, 8)                                                             \
	R(35, bytes, former_salt, SALT_BYTES)                                                      \
	R(36, bytes, former_hash, DIGEST_BYTES)                                                    \
	R(37, bytes, former_scram_salt, SALT_BYTES)                                                \
	R(38, u32, former_scram_iterations, 4)                                                     \
	R(39, bytes, former_scram_stored_key, DIGEST_BYTES)                                        \
	R(40, bytes, former_scram_server_key, DIGEST_BYTES)                                        \
	R(41, text, retry, NAME_BYTES) /* a retry-schedule of the configuration; empty: the usual one */

/* Key: the domain in A-labels and lower case. */
#define RECORD_domain(R)                                                                           \
	R(1, text, tenant, NAME_BYTES)                                                             \
	R(2, flag, verified, 1)                                                                    \
	R(3, text, token, TOKEN_BYTES)                                                             \
	R(4, u64, created_us, 8)                                                                   \
	R(5, u32, created_by, 4)                                                                   \
	R(6, u64, verified_us, 8)                                                                  \
	R(7, u32, verified_by, 4)                                                                  \
	R(8, flag, forced, 1) /* verified by the admin's word */                                   \
	R(9, flag, hosted, 1) /* mail for it is taken from anybody */                              \
	R(10, flag, bounce, 1) /* takes the returns of service-owned senders */                    \
	R(11, u32, rewrite, 4) /* enum rewrite_mode: C19-C22 */                                         \
	R(12, text, rewrite_to, ADDRESS_BYTES) /* fixed: the address; domain: the domain alone */  \
	R(13, u64, changed_us, 8)                                                                  \
	R(14, u32, changed_by, 4)

/* Key: "serial": the last one that was given out. */
#define RECORD_counter(R) R(1, u64, value, 8)

/* Key: see authd/audit.c. */
#define RECORD_audit(R)                                                                            \
	R(1, u64, at_us, 8)                                                                        \
	R(2, u32, uid, 4)                                                                          \
	R(3, text, command, COMMAND_BYTES)                                                         \
	R(4, text, tenant, NAME_BYTES)                                                             \
	R(5, text, what, WHAT_BYTES)

/* Key: its number in return addresses, three digits (authd/return_key.h). */
#define RECORD_return_key(R)                                                                       \
	R(1, u64, made_us, 8)                                                                      \
	R(2, bytes, secret, DIGEST_BYTES)

#define RECORDS(X) X(tenant) X(key) X(domain) X(counter) X(audit) X(return_key)

#define RECORD_MEMBER_flag(field, size) bool field;
#define RECORD_MEMBER_u32(field, size) uint32_t field;
#define RECORD_MEMBER_u64(field, size) uint64_t field;
#define RECORD_MEMBER_text(field, size) char field[(size) + 1];
#define RECORD_MEMBER_bytes(field, size) unsigned char field[size];
#define RECORD_MEMBER(tag, kind, field, size) RECORD_MEMBER_##kind(field, size)
#define RECORD_STRUCT(record)                                                                      \
	struct record_##record {                                                                   \
		RECORD_##record(RECORD_MEMBER)                                                     \
	};
RECORDS(RECORD_STRUCT)

enum record_kind { RECORD_flag, RECORD_u32, RECORD_u64, RECORD_text, RECORD_bytes };

struct record_field {
	uint16_t tag;
	enum record_kind kind;
	const char *name;
	size_t offset, size;
};

struct record_type;
#define RECORD_TYPE(record) extern const struct record_type record_type_##record;
RECORDS(RECORD_TYPE)

const struct record_field *record_fields(const struct record_type *type, size_t *count);
/* Appends the value; a text longer than its field cannot occur. */
void record_put(const struct record_type *type, const void *record, struct buf *out);
/* Fills the whole struct; false: damaged. */
bool record_get(const struct record_type *type, struct view v, void *record);

#endif
