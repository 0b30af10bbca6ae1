/* SPDX-License-Identifier: ISC */
/*
 * What the compiler makes of lib/ipc_schema.h: a struct ipc_<name> and a descriptor for each message,
 * one encoder, one decoder and one printer for all of them.
 *
 * Decoding validates every field and is true only if every byte was used. Text fields of a decoded
 * struct are views into the frame: they live until the handler returns.
 */
#ifndef EKIDEN_IPC_H
#define EKIDEN_IPC_H

#include "lib/buf.h"
#include "lib/ipc_schema.h"

enum ipc_kind { IPC_u8, IPC_u16, IPC_u32, IPC_u64, IPC_flag, IPC_blob, IPC_text, IPC_addr, IPC_domain };

typedef uint8_t ipc_t_u8;
typedef uint16_t ipc_t_u16;
typedef uint32_t ipc_t_u32;
typedef uint64_t ipc_t_u64;
typedef bool ipc_t_flag;
typedef struct view ipc_t_blob, ipc_t_text, ipc_t_addr, ipc_t_domain;

struct ipc_field {
	const char *name;
	enum ipc_kind kind;
	uint16_t offset; /* in the struct */
	uint32_t max;	 /* bytes, for the variable kinds */
};

struct ipc_desc {
	uint16_t type; /* 0: a record */
	const char *name;
	const struct ipc_field *(*fields)(size_t *count);
};

#define IPC_MEMBER(kind, name, max) ipc_t_##kind name;
#define IPC_DECLARE(num, name)                                                                     \
	struct ipc_##name {                                                                        \
		IPC_FIELDS_##name(IPC_MEMBER)                                                      \
	};                                                                                         \
	extern const struct ipc_desc ipc_desc_##name;
IPC_MESSAGES(IPC_DECLARE)
IPC_RECORDS(IPC_DECLARE)

#define IPC_ENUM(num, name) IPC_TYPE_##name = (num),
enum ipc_type { IPC_MESSAGES(IPC_ENUM) };

/* The handler switch of a receiver; in scope: type, body, d (its state), ch, fd. */
#define IPC_CASE(num, name)                                                                        \
	case num: {                                                                                \
		struct ipc_##name m;                                                               \
		return ipc_get(&ipc_desc_##name, body, &m) && on_##name(d, ch, &m, fd);            \
	}

enum { IPC_FRAME_MAX = 65536, IPC_HEADER = 8 }; /* u32 length of the body, u16 type, u16 flags */
enum { IPC_HAS_FD = 1 };

/* Appends the body (no header). A value over its limit, or an invalid text, sets b->bad. */
void ipc_put(struct buf *b, const struct ipc_desc *d, const void *m);
/* A whole body: false unless every field is valid and every byte was used. */
bool ipc_get(const struct ipc_desc *d, struct view body, void *m);
/* One record from the front of *v; false at the end (v->n == 0 and v->p set) or when bad (p NULL). */
bool ipc_next(const struct ipc_desc *d, struct view *v, void *m);
/* All records of a blob are valid; for handlers that want to refuse the whole frame. */
bool ipc_records_ok(const struct ipc_desc *d, struct view blob);

/* NULL when the number is unknown. */
const struct ipc_desc *ipc_desc_of(uint16_t type);
const struct ipc_desc *const *ipc_all(size_t *count); /* messages and records */
/* One line "name field=value ..."; secrets (fields named secret, key, pem) are masked. */
void ipc_print(struct buf *out, const struct ipc_desc *d, const void *m);
/* Both ends of a channel must agree on it. */
uint64_t ipc_digest(void);
/* "smtpd" for ROLE_SMTPD; "?" when out of range. */
const char *role_name(unsigned role);

/* Appends a record to a blob under construction: IPC_RECORD(&b, job_rcpt, .index = 1, ...). */
#define IPC_RECORD(b, name, ...) ipc_put((b), &ipc_desc_##name, &(struct ipc_##name){ __VA_ARGS__ })

#endif
