/* SPDX-License-Identifier: ISC */
/* conf_read_file(): includes, defaults from the host, and what files it refuses (ATTACKS I6). */
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/conf.h"
#include "t/tap.h"

enum { TEXT_MAX = 1 << 20 };

static char dir[64];

/* Errors with the test's folder as DIR. */
static const char *
shorten(struct buf *b)
{
	struct buf out = BUF_INIT(TEXT_MAX);
	struct view rest = buf_view(b);
	size_t n = strlen(dir);

	while (rest.n) {
		bool hit = view_starts(rest, dir);
		if (hit)
			buf_puts(&out, "DIR");
		else
			buf_putc(&out, rest.p[0]);
		rest = view_skip(rest, hit ? n : 1);
	}
	buf_clear(b);
	buf_putv(b, buf_view(&out));
	buf_free(&out);
	return buf_cstr(b);
}

static const char *
path_of(const char *name, struct buf *b)
{
	buf_clear(b);
	buf_printf(b, "%s/%s", dir, name);
	return buf_cstr(b);
}

static void
put_file(const char *name, mode_t mode, const char *text)
{
	struct buf path = BUF_INIT(4096);
	int fd = open(path_of(name, &path), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
	    fchmod(fd, mode) < 0)
		abort();
	close(fd);
	buf_free(&path);
}

static struct conf *
read_conf(const char *name, struct buf *errors)
{
	struct buf path = BUF_INIT(4096);

	buf_clear(errors);
	struct conf *c = conf_read_file(path_of(name, &path), errors);
	buf_free(&path);
	return c;
}

/* Reads "main.conf" with this text; the errors, or "" when it is accepted (warnings do not count).
 */
static const char *
refusal(const char *text, struct buf *errors)
{
	put_file("main.conf", 0644, text);
	struct conf *c = read_conf("main.conf", errors);
	if (c)
		buf_clear(errors);
	conf_free(&c);
	return shorten(errors);
}

#define BASE "hostname a.test\nuid-base 61500\n"
#define PLAIN "listen a { address 127.0.0.1:2525; tls none }\n"

static void
test_includes(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX), value = BUF_INIT(TEXT_MAX);

	mkdir(path_of("sub", &value), 0755);
	mkdir(path_of("sub/d", &value), 0755);
	put_file("sub/one.conf", 0644, "include d/*.conf\n");
	put_file("sub/d/a.conf", 0644, "limits { hops 7 }\n");
	put_file("sub/d/b.conf", 0644, "transport text:map\n");
	put_file("map", 0644, "");
	put_file("main.conf", 0644, BASE PLAIN "include sub/one.conf\ninclude none/*.conf\n");
	struct conf *c = read_conf("main.conf", &errors);
	if (!ok(c != NULL, "includes: relative to the file, with patterns, nested"))
		printf("# %s", buf_cstr(&errors));
	ok(c && c->limits.hops == 7, "what they say counts");
	buf_clear(&value);
	ok(c && conf_value(c, "transport", &value), "a transport map");
	is_str(shorten(&value), "text:DIR/map", "is below the folder of the main file");
	conf_free(&c);

	put_file("sub/d/a.conf", 0644, "limits {\n hopps 7\n}\n");
	is_str(refusal(BASE PLAIN "include sub/one.conf\n", &errors),
	    "DIR/sub/d/a.conf:2:2: unknown directive \"hopps\" in limits; did you mean \"hops\"?\n",
	    "C26 an error in an included file is told with its name and line");
	put_file("sub/d/a.conf", 0644, "limits {\n hops 7\n");
	put_file("sub/d/b.conf", 0644, "}\n");
	is_str(refusal(BASE PLAIN "include sub/one.conf\n", &errors),
	    "DIR/sub/d/a.conf:3:1: \"}\" is missing: the block limits began at line 1\n"
	    "DIR/sub/d/b.conf:1:1: \"}\" without a block that is open\n",
	    "a block ends in the file in which it begins");
	is_str(refusal(BASE PLAIN "include gone.conf\n", &errors),
	    "DIR/main.conf:4:1: DIR/gone.conf: No such file or directory\n",
	    "an include that is missing");
	is_str(refusal(BASE PLAIN "limits {\ninclude x\n}\n", &errors),
	    "DIR/main.conf:5:1: include stands outside of blocks only\n", "an include in a block");
	is_str(refusal(BASE PLAIN "include\n", &errors),
	    "DIR/main.conf:4:1: include needs one file name or pattern\n", "an include of nothing");
	ok(strstr(refusal(BASE PLAIN "include main.conf\n", &errors),
	       "DIR/main.conf:4:1: includes are nested more than 10 deep\n"),
	    "an include of itself ends");
	buf_free(&errors);
	buf_free(&value);
}

static void
test_modes(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX), path = BUF_INIT(4096);
	static const char text[] = BASE PLAIN;

	put_file("main.conf", 0664, text);
	ok(read_conf("main.conf", &errors) == NULL, "atk-I6 a group-writable configuration");
	is_str(shorten(&errors),
	    "DIR/main.conf:1:1: DIR/main.conf: mode 0664 lets others write to it\n",
	    "atk-I6 is refused with its mode");
	put_file("main.conf", 0646, text);
	ok(read_conf("main.conf", &errors) == NULL, "atk-I6 a world-writable configuration");
	put_file("sub/d/a.conf", 0666, "limits { hops 7 }\n");
	put_file("sub/d/b.conf", 0644, "");
	is_str(refusal(BASE PLAIN "include sub/d/*.conf\n", &errors),
	    "DIR/sub/d/a.conf:1:1: DIR/sub/d/a.conf: mode 0666 lets others write to it\n",
	    "atk-I6 a world-writable include");
	put_file("main.conf", 0644, text);
	if (geteuid() == 0) {
		if (chown(path_of("main.conf", &path), 12345, 0) < 0)
			abort();
		ok(read_conf("main.conf", &errors) == NULL,
		    "atk-I6 root refuses a file of somebody else");
		if (chown(path_of("main.conf", &path), 0, 0) < 0)
			abort();
	} else {
		skip(1, "needs root");
	}
	ok(read_conf("gone.conf", &errors) == NULL, "a file that is missing");
	is_str(shorten(&errors), "DIR/gone.conf:1:1: DIR/gone.conf: No such file or directory\n",
	    "is told by its name");
	ok(read_conf("sub", &errors) == NULL, "a folder is no file");
	is_str(shorten(&errors), "DIR/sub:1:1: DIR/sub: not a file\n", "which is told");
	buf_free(&errors);
	buf_free(&path);
}

static void
test_secrets(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX), path = BUF_INIT(4096);
	static const char text[] = BASE PLAIN "certificate default { chain a.crt; key a.key }\n";

	put_file("a.crt", 0644, "");
	put_file("a.key", 0600, "");
	is_str(refusal(text, &errors), "", "a key that only its owner reads");
	put_file("a.key", 0644, "");
	is_str(refusal(text, &errors),
	    "DIR/main.conf:4:36: key: DIR/a.key: mode 0644 lets others read it; chmod 600\n",
	    "atk-I6 a key that everybody reads");
	put_file("a.key", 0620, "");
	is_str(refusal(text, &errors),
	    "DIR/main.conf:4:36: DIR/a.key: mode 0620 lets others write to it\n",
	    "atk-I6 a key that the group writes");
	put_file("a.key", 0640, "");
	if (geteuid() == 0) {
		is_str(refusal(text, &errors), "", "a key that the group root reads");
		put_file("a.key", 0600, "");
		if (chown(path_of("a.key", &path), 12345, 12345) < 0)
			abort();
		is_str(refusal(text, &errors),
		    "DIR/main.conf:4:36: key: DIR/a.key: belongs to user 12345\n",
		    "atk-I6 a key of somebody else");
		if (chown(path_of("a.key", &path), 0, 0) < 0)
			abort();
		put_file("a.key", 0640, "");
		if (chown(path_of("a.key", &path), 0, 12345) < 0)
			abort();
		is_str(refusal(text, &errors),
		    "DIR/main.conf:4:36: key: DIR/a.key: mode 0640 lets others read it; chmod "
		    "600\n",
		    "atk-I6 a key that another group reads");
	} else {
		skip(3, "needs root");
	}
	unlink(path_of("a.key", &path));
	unlink(path_of("a.crt", &path));
	is_str(refusal(text, &errors),
	    "DIR/main.conf:4:23: chain: DIR/a.crt: No such file or directory\n"
	    "DIR/main.conf:4:36: key: DIR/a.key: No such file or directory\n",
	    "files that are missing");
	is_str(refusal(BASE PLAIN "relayhost r.test\nrelay-user u\nrelay-secret none\n", &errors),
	    "DIR/main.conf:6:1: relay-secret: DIR/none: No such file or directory\n",
	    "a secret that is missing");
	is_str(refusal(BASE PLAIN "transport btree:map\n", &errors),
	    "DIR/main.conf:4:1: transport: DIR/map.db is missing: run mtactl map build DIR/map\n",
	    "a map that was not built");
	is_str(refusal(BASE PLAIN "log { file none/x.log }\n", &errors),
	    "DIR/main.conf:4:7: file: folder DIR/none: No such file or directory\n",
	    "a log without a folder");
	buf_free(&errors);
	buf_free(&path);
}

static void
test_defaults(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX), path = BUF_INIT(4096), value = BUF_INIT(TEXT_MAX);

	is_str(refusal(BASE, &errors),
	    "DIR/main.conf:1:1: listen mx: TLS needs a certificate: write \"certificate default { "
	    "chain "
	    "FILE; key FILE }\" or put one into DIR/tls/HOSTNAME.crt and .key\n",
	    "without listeners and certificate: what to do is told, once");
	mkdir(path_of("tls", &path), 0755);
	put_file("tls/a.test.crt", 0644, "");
	put_file("tls/a.test.key", 0600, "");
	struct conf *c = read_conf("main.conf", &errors);
	if (!ok(c != NULL, "a host name and a certificate are enough"))
		printf("# %s", buf_cstr(&errors));
	if (c) {
		is_int((long long)c->listen_count, 3, "listeners mx, submission and smtps");
		is_str(c->listen[0].name, "mx", "mx");
		ok(c->listen[0].auth.mode == AUTH_OPTIONAL && c->listen[0].tls == CONF_TLS_starttls,
		    "with starttls, auth optional");
		ok(c->listen[1].auth.mode == AUTH_REQUIRED && c->listen[1].tls == CONF_TLS_starttls,
		    "G4 submission with starttls, auth required");
		ok(c->listen[2].tls == CONF_TLS_implicit, "A9 smtps with implicit TLS");
		is_str(c->listen[0].address.v[0].text, "0.0.0.0:25", "port 25 of all addresses");
		is_int((long long)c->certificate_count, 1, "the certificate of the host name");
		conf_value(c, "certificate default.key", &value);
		is_str(shorten(&value), "DIR/tls/a.test.key", "beside the configuration");
		is_str(c->postmaster, "postmaster@a.test", "the postmaster of the host");
	}
	conf_free(&c);
	put_file("main.conf", 0644, "uid-base 61500\n" PLAIN);
	c = read_conf("main.conf", &errors);
	ok((c && *c->hostname) || strstr(buf_cstr(&errors), "no usable name"),
	    "the host's own name is the default");
	conf_free(&c);
	buf_free(&errors);
	buf_free(&path);
	buf_free(&value);
}

static void
test_lenient(void)
{
	struct buf errors = BUF_INIT(TEXT_MAX), path = BUF_INIT(4096);

	put_file("main.conf", 0644, "run-dir /x/y\nrun-dirr /z\nlimits { hops x }\n");
	struct conf *c = conf_read_lenient(path_of("main.conf", &path), &errors);
	ok(c != NULL, "a wrong file can be read for what is right in it");
	is_str(c ? c->run_dir : "", "/x/y", "such as run-dir");
	ok(buf_len(&errors) > 0, "its errors are told");
	conf_free(&c);
	ok(conf_read_lenient(path_of("gone", &path), &errors) == NULL, "a missing one cannot");
	buf_free(&errors);
	buf_free(&path);
}

static int
remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

int
main(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.40s/conf_t.XXXXXX", tmp && strlen(tmp) <= 40 ? tmp : "/tmp");
	umask(022);
	if (mkdtemp(dir) == NULL)
		abort();
	test_includes();
	test_modes();
	test_secrets();
	test_defaults();
	test_lenient();
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return done_testing();
}
