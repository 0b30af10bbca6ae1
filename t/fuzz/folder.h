/* SPDX-License-Identifier: ISC */
/* A working folder for targets that need files: in memory where that is possible, removed at exit. */
#ifndef EKIDEN_FUZZ_FOLDER_H
#define EKIDEN_FUZZ_FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "t/fuzz/fuzz.h"

static char fuzz_folder_path[64];

static int
fuzz_folder_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type;
	return ftw->level ? remove(path) : 0;
}

/* All that is in it. */
static void
fuzz_folder_empty(void)
{
	nftw(fuzz_folder_path, fuzz_folder_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static void
fuzz_folder_remove(void)
{
	fuzz_folder_empty();
	rmdir(fuzz_folder_path);
}

/* Makes it and goes there. */
static void
fuzz_folder(void)
{
	strcpy(fuzz_folder_path, "/dev/shm/ekiden-fuzz.XXXXXX");
	if (mkdtemp(fuzz_folder_path) == NULL) {
		strcpy(fuzz_folder_path, "/tmp/ekiden-fuzz.XXXXXX");
		REQUIRE(mkdtemp(fuzz_folder_path));
	}
	REQUIRE(chdir(fuzz_folder_path) == 0 && atexit(fuzz_folder_remove) == 0);
}

#endif
