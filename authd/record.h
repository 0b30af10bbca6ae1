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

#include "lib/buf.h"

enum {
	NAME_BYTES = 64,   /* tenant, key user */
	NOTE_BYTES = 255,
	DOMAIN_BYTES = 255,
	TOKEN_BYTES = 64,
	SALT_BYTES = 16,
	DIGEST_BYTES = 32, /* SHA-256 */
	RECORD_BYTES = 2048
};

/* Key: the tenant's name. */
#define RECORD_tenant(R)                                                                           \
	R(1, flag, enabled, 1)                                                                     \
	R(2, u64, created_us, 8)                                                                   \
	R(3, u32, created_by, 4) /* user id of the admin */                                        \
	R(4, u64, changed_us, 8)                                                                   \
	R(5, u32, changed_by, 4)

/* Key: the user name. Stays for ever, so that no name is issued twice (A5). */
#define RECORD_key(R)                                                                              \
	R(1, text, tenant, NAME_BYTES)                                                             \
	R(2, flag, revoked, 1) /* the fields from 9 on are gone then */                            \
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
	R(14, bytes, scram_server_key, DIGEST_BYTES)

/* Key: the domain in A-labels and lower case. */
#define RECORD_domain(R)                                                                           \
	R(1, text, tenant, NAME_BYTES)                                                             \
	R(2, flag, verified, 1)                                                                    \
	R(3, text, token, TOKEN_BYTES)                                                             \
	R(4, u64, created_us, 8)                                                                   \
	R(5, u32, created_by, 4)                                                                   \
	R(6, u64, verified_us, 8)                                                                  \
	R(7, u32, verified_by, 4)                                                                  \
	R(8, flag, forced, 1) /* verified by the admin's word */

#define RECORDS(X) X(tenant) X(key) X(domain)

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

struct record_type;
#define RECORD_TYPE(record) extern const struct record_type record_type_##record;
RECORDS(RECORD_TYPE)

/* Appends the value; a text longer than its field cannot occur. */
void record_put(const struct record_type *type, const void *record, struct buf *out);
/* Fills the whole struct; false: damaged. */
bool record_get(const struct record_type *type, struct view v, void *record);

#endif
