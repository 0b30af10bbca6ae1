/* SPDX-License-Identifier: ISC */
/* Files that master opens or reads for the daemons, which cannot. */
#ifndef EKIDEN_MASTER_FILES_H
#define EKIDEN_MASTER_FILES_H

#include "lib/conf.h"
#include "lib/err.h"
#include "lib/ipc_schema.h"

#define SYSLOG_PATH "/dev/log"

/*
 * The whole of a regular file, at most max bytes. secret: owner must be root or this user, and nobody
 * else (but the group root) may read it.
 */
int file_read(const char *path, size_t max, bool secret, struct buf *out, struct err *e);

/*
 * A sealed, unlinked file in memory; what a daemon gets of it cannot be changed by anybody. Secrets
 * wait in one, outside of the address space of master. -1 on failure.
 */
int memfile_make(const char *name, struct view content, struct err *e);
/* A descriptor of its own (read-only, at offset 0) for another process; -1 with errno. */
int memfile_open(int fd);
/* Appends the content. */
int memfile_read(int fd, struct buf *out, struct err *e);

/* O_APPEND, made with mode 0640 when missing. */
int append_open(const char *path, struct err *e);
/*
 * Where log lines go: log.file, or the system's log, or (foreground only, when there is no system log)
 * standard error. *kind: LOG_KIND_FILE or LOG_KIND_SYSLOG.
 */
int log_target_open(const struct conf *c, bool foreground, enum log_kind *kind, struct err *e);

#endif
