/* SPDX-License-Identifier: ISC */
/*
 * qmgr, two writers, an smtp process that takes its messages, bounce, and dnsd (ATTACKS I12). The writers also
 * store messages as they should, so that there are lanes, connections, jobs and reports to lie about.
 */
#include "lib/segment.h"
#include "t/fuzz/frames.h"
#include "t/fuzz/libdb.h"

#define main daemon_main
#include "qmgr/qmgr.c"
#undef main


/* The segment that the first writer was given last. */
static struct {
	uint64_t gen, at;
	uint32_t index;
} mine;

static void
told(struct frames *f, const struct ipc_desc *d, const void *m)
{
	const struct ipc_segment *s = m;

	(void)f;
	if (d != &ipc_desc_segment)
		return;
	mine.gen = s->gen;
	mine.at = s->start;
	mine.index = 1;
}

/* A message as a writer stores it, up to the file's bytes, which qmgr does not read. */
static void
store_one(struct frames *f, struct view *in)
{
	static const char *const names[] = { "a@b.test", "b@c.test", "c@b.test", "d@[127.0.0.1]", "e@d.test" };
	struct segment_rcpt rcpts[4] = { 0 };
	struct buf head = BUF_INIT(IPC_FRAME_MAX);
	struct record r;

	if (mine.gen == 0) {
		frames_put(f, 0, &ipc_desc_segment_want, &(struct ipc_segment_want){ .count = 1 }, 0);
		frames_turns(f, 2);
		return;
	}
	uint32_t n = view_get_u8(in) % 4u + 1;
	for (uint32_t i = 0; i < n; i++)
		rcpts[i] = (struct segment_rcpt){ .addr = view_str(names[view_get_u8(in) % 5u]),
			.notify = view_get_u8(in) % 16u };
	struct envelope env = { .qid = qid_make(mine.gen, mine.index++), .arrival_us = clock_wall_us(),
		.received_us = clock_wall_us(), .sender = view_str(view_get_u8(in) & 1 ? "s@t.test" : ""),
		.tenant = view_str("acme"), .user = view_str("k"), .rcpts = rcpts, .nrcpt = n,
		.size = 100 };
	record_head_put(&head, mine.gen, &env, 0, 100, 0, &r);
	frames_put(f, 0, &ipc_desc_stored, &(struct ipc_stored){ .gen = mine.gen, .offset = mine.at,
	    .end = mine.at + r.length, .head = buf_view(&head) }, 0);
	mine.at += r.length;
	buf_free(&head);
	frames_turns(f, 2);
}

void
fuzz_one(struct view in)
{
	static const uint16_t types[] = { 0x05, 0x08, 0x0a, 0x0e, 0 };
	static const char *const folders[] = { "seg", "big", "db", "maps", "quarantine", NULL };
	static struct frames f = { .roles = { ROLE_SMTPD, ROLE_SMTP, ROLE_BOUNCE, ROLE_DNSD }, .count = 4,
		.types = types, .special = store_one, .told = told };

	if (f.d.loop == NULL) {
		frames_folder(folders);
		frames_start(&f, &spec, "hostname fuzz.test\n"
					"spool { segment-size 8M; spare-segments 1 }\n");
	}
	mine.gen = 0;
	frames_one(&f, in);
}
