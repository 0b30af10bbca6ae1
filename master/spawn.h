/* SPDX-License-Identifier: ISC */
#ifndef EKIDEN_MASTER_SPAWN_H
#define EKIDEN_MASTER_SPAWN_H

#include <sys/types.h>

#include "lib/err.h"
#include "lib/ipc_schema.h"

/*
 * Forks and executes a daemon in a session of its own with nothing but 0-2 (/dev/null; standard error
 * stays when keep_stderr) and 3 (`channel`, which remains the caller's). Its environment is a short
 * list. The pid, or -1.
 */
pid_t spawn_daemon(const char *path, enum role role, uint32_t instance, int channel,
    bool keep_stderr, struct err *e);
/*
 * The program of a role below dir: dir/<role> as installed, or dir/<role>/<role> in a build tree.
 * Written into path; -1 when neither can be executed.
 */
int spawn_path(const char *dir, enum role role, char *path, size_t size, struct err *e);

#endif
