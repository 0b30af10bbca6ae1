/* SPDX-License-Identifier: ISC */
/* Feeds every file of t/fuzz/corpus/<target>/ to the target: no crash, no hang, every property holds. */
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

#include "t/fuzz/fuzz.h"
#include "t/tap.h"

/* By the folder's descriptor: a target may have its working folder elsewhere. */
static void
replay_file(int dir, const char *name)
{
	struct buf b = BUF_INIT(16 << 20);
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd >= 0 ? fdopen(fd, "rb") : NULL;
	size_t n;

	if (f == NULL) {
		ok(false, "%s cannot be read", name);
		return;
	}
	do {
		char *room = buf_reserve(&b, 65536);
		n = room ? fread(room, 1, 65536, f) : 0;
		buf_commit(&b, n);
	} while (n);
	fclose(f);
	/* An exact copy, so that the sanitizer sees reads past the end. */
	char *copy = x_malloc(buf_len(&b));
	memcpy(copy, buf_view(&b).p, buf_len(&b));
	fuzz_one(view_of(copy, buf_len(&b)));
	free(copy);
	buf_free(&b);
	ok(true, "%s", name);
}

int
main(int argc, char **argv)
{
	char dir[4096];
	const char *src = getenv("EKIDEN_SRC"), *name = basename(argv[0]);
	struct dirent *d;

	(void)argc;
	alarm(300);
	/* replay_<target> */
	snprintf(dir, sizeof(dir), "%s/t/fuzz/corpus/%s", src ? src : ".", name + strlen("replay_"));
	DIR *corpus = opendir(dir);
	while (corpus && (d = readdir(corpus)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		replay_file(dirfd(corpus), d->d_name);
	}
	ok(corpus && tap_count > 0, "the corpus %s is there", dir);
	if (corpus)
		closedir(corpus);
	fuzz_one(VIEW(""));
	return done_testing();
}
