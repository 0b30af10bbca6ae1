#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""mtactl without a suite: usage errors, exit codes, help for every command, local commands."""
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import BUILD, SRC, tap  # noqa: E402

MTACTL = f"{BUILD}/mtactl/mtactl"
work = tempfile.TemporaryDirectory(prefix="ekiden-mtactl-")
conf = os.path.join(work.name, "ekiden.conf")


def write(name, text, mode=0o644):
    path = os.path.join(work.name, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def run(*args, stdin="", config=True, stdout=subprocess.PIPE):
    return subprocess.run([MTACTL] + (["-c", conf] if config else []) + list(args), text=True, input=stdin,
                          stdout=stdout, stderr=subprocess.PIPE, timeout=30)


BASE = (f"hostname a.test\nuid-base 61500\nstate-dir {work.name}/state\nspool-dir {work.name}/spool\n"
        f"run-dir {work.name}/run\nlisten a {{ address 127.0.0.1:2525; tls none }}\n")
write("ekiden.conf", BASE)

# Every command of the schema is there, documents itself, and is in the manual.
schema = open(f"{SRC}/lib/ctl_schema.h").read() + open(f"{SRC}/mtactl/command.h").read()
OWN = {"route find"}  # mtactl's questions, no names for people
commands = [c for c in re.findall(r'X\((?:AUTHD|QMGR|MASTER|DNSD|MTACTL), \w+,\s*"([^"]+)"', schema) if c not in OWN]
tap.ok(len(commands) >= 33, f"{len(commands)} commands in the tables")
overview = run("--help", config=False)
tap.equal((overview.returncode, overview.stderr), (0, ""), "--help")
manual = open(f"{SRC}/man/mtactl.8").read()
for c in commands:
    r = run(*c.split(), "--help", config=False)
    tap.ok(r.returncode == 0 and r.stdout.startswith(f"mtactl {c}") and len(r.stdout.splitlines()) > 1
           and f"\n  {c} " in overview.stdout and f"\n.Ic {c}\n" in manual, f"{c} --help, overview, manual", r)
r = run("queue", "--help", config=False)
tap.ok(r.returncode == 0 and r.stdout.count("mtactl queue ") == 10, "queue --help: the whole group", r.stdout)
tap.equal(run("help", "key", config=False).stdout, run("key", "--help", config=False).stdout, "help key")
tap.equal(run("help", "nothing", config=False).returncode, 2, "help about nothing")
tap.equal(run("help", config=False).stdout, overview.stdout, "help")
tap.ok(all(len(line) < 80 for line in overview.stdout.splitlines()), "help fits into 80 columns")

# Wrong use: 2, with words; never a traceback of a daemon or a connection.
for args, words in [
        ([], "a command is missing"),
        (["quue", "list"], 'unknown command "quue list"; did you mean "queue list"?'),
        (["queue", "lst"], 'did you mean "queue list"?'),
        (["stats"], 'did you mean "status"?'),
        (["xyzzy"], 'unknown command "xyzzy"; see mtactl --help'),
        (["x" * 500], "unknown command"),
        (["queue"], "queue: which of list, count, shape, show, flush, hold, release, delete, bounce, move?"),
        (["--bogus"], "unknown option --bogus"),
        (["-x", "status"], "unknown option -x"),
        (["-c"], "-c needs the name"),
        (["tenant", "add"], "tenant add: NAME is missing"),
        (["tenant", "add", ""], "tenant add: NAME is empty"),
        (["tenant", "add", "a", "b"], 'tenant add: unexpected argument "b"'),
        (["tenant", "add", "a", "--enabled=yes"], "--enabled takes no value"),
        (["tenant", "add", "a", "--enabled", "--enabled"], "--enabled is given twice"),
        (["key", "issue", "a"], "key issue: USER is missing"),
        (["key", "issue", "a", "b", "--note"], "--note needs a value"),
        (["key", "issue", "a", "b", "--note="], "--note: an empty value"),
        (["key", "issue", "a", "b", "--not=x"], "did you mean --note?"),
        (["key", "issue", "a", "b" * 16385], "longer than 16384 bytes"),
        (["tenant", "set", "a", "--header-from="], "--header-from: an empty value"),
        (["import"], "import: FILE is missing"),
        (["import", "/nonexistent"], "/nonexistent: No such file"),
        (["import", "/dev/null", "b"], 'unexpected argument "b"'),
        (["queue", "list", "-z"], "unknown option -z"),
        (["queue", "hold"], "queue hold: needs an ID, a filter or --all"),
        (["queue", "delete"], "needs an ID, a filter or --all"),
        (["queue", "flush"], "needs an ID, a filter or --all"),
        (["queue", "delete", "--all", "--tenant=a"], "--all stands alone"),
        (["queue", "delete", "--all", "X"], "--all stands alone"),
        (["queue", "hold", "-", "-"], '"-" is given twice'),
        (["queue", "show", "A", "B"], 'unexpected argument "B"'),
        (["--offline", "queue", "list"], "--offline is for tenant, key and domain commands"),
]:
    r = run(*args, config=False)
    shown = " ".join(args)[:60]
    tap.ok(r.returncode == 2 and words in r.stderr and r.stdout == "" and r.stderr.startswith("mtactl: "),
           f"exit 2: {shown}", r)

# The suite is down.
for args in (["status"], ["queue", "list"], ["tenant", "list"], ["queue", "hold", "X"]):
    r = run(*args)
    tap.equal((r.returncode, r.stdout, r.stderr),
              (1, "", f"mtactl: ekiden is not running (no control socket at {work.name}/run/control); "
                      "use --offline for tenant, key and domain commands\n"), f"{' '.join(args)}: not running")
r = run("queue", "hold", "-", stdin="\n  \n")
tap.equal((r.returncode, r.stdout, r.stderr), (0, "", ""), "no IDs on standard input: nothing is asked of anybody")
r = run("import", "-", stdin="x" * 16385)
tap.ok(r.returncode == 2 and "a line of more than 16384 bytes" in r.stderr, "a line of a file has a limit", r.stderr)
r = run("queue", "hold", "-", stdin="x" * 5000)
tap.ok(r.returncode == 2 and "a line of more than" in r.stderr, "an endless line on standard input", r.stderr)
r = run("-c", f"{work.name}/gone", "status")
tap.ok(r.returncode == 1 and "No such file" in r.stderr, "no configuration", r.stderr)
write("ekiden.conf", BASE + "nonsense 1\n")
r = run("status")
tap.ok(r.returncode == 1 and "has errors; see mtactl config check" in r.stderr and "not running" in r.stderr,
       "a wrong configuration does not keep mtactl from finding the suite", r.stderr)
write("ekiden.conf", BASE)

# config
r = run("config", "check")
tap.equal((r.returncode, r.stdout, r.stderr), (0, f"{conf}: no errors\n", ""), "config check")
bad = write("bad.conf", BASE + "limits {\n  mesage-size 20M\n}\nretry { a 0; b 0 }\n")
r = run("config", "check", "-c", bad)
tap.equal((r.returncode, r.stdout, r.stderr),
          (1, "", f'mtactl: {bad}:8:3: unknown directive "mesage-size" in limits; did you mean "message-size"?\n'
                  f"mtactl: {bad}:10:9: retry: exponential needs 0 < a + b < period; a + b is 0, period 86400\n"),
          "C26 C12 config check: every error with file, line and column")
rows = [json.loads(line) for line in run("-j", "config", "check", "-c", bad).stdout.splitlines()]
tap.equal([(r["file"], r["line"], r["column"], r["warning"]) for r in rows], [(bad, 8, 3, False), (bad, 10, 9, False)],
          "as JSON")
os.mkdir(f"{work.name}/a:1")
odd = write("a:1/x.conf", BASE + "zzz 1\n")
tap.equal(json.loads(run("-j", "config", "check", "-c", odd).stdout)["file"], odd, "with colons in the file's name")
r = run("config", "show")
shown = write("shown.conf", r.stdout)
tap.ok(r.returncode == 0 and run("config", "show", "-c", shown).stdout == r.stdout, "config show reads back equal")
r = run("config", "show", "--changed")
tap.ok("uid-base 61500" in r.stdout and "hops" not in r.stdout, "config show --changed", r.stdout)
tap.equal(run("config", "show", "retry.b").stdout, "-240\n", "config show NAME")
tap.equal(run("config", "show", "listen a.tls").stdout, "none\n", "config show of a named block")
tap.equal(run("config", "show", "retry.c").returncode, 1, "config show of nothing")
values = {r["name"]: r["value"] for r in map(json.loads, run("-j", "config", "show", "--changed").stdout.splitlines())}
tap.ok(values["uid-base"] == "61500" and "limits.hops" not in values, "config show --changed as JSON", values)
values = {r["name"]: r["value"] for r in map(json.loads, run("-j", "config", "show").stdout.splitlines())}
tap.equal((values["retry.a"], values["hostname"]), ("480", "a.test"), "config show as JSON")
tap.equal(run("config", "defaults").stdout, open(f"{SRC}/etc/ekiden.conf").read(), "etc/ekiden.conf is made from the schema")
sample = re.sub(r"(?m)^#(?=\S)", "", run("config", "defaults").stdout)
r = run("config", "check", "-c", write("sample.conf", sample))
tap.ok("unknown" not in r.stderr and "is not" not in r.stderr, "without its comment marks the sample is valid", r.stderr)

# map
table = write("map", "# routes\na.test [127.0.0.1]:26\nb.test c.test\n")
r = run("map", "build", table)
tap.equal((r.returncode, r.stdout), (0, f"{table}.db: 2 entries\n"), "map build")
tap.equal(json.loads(run("-j", "map", "build", table, f"{work.name}/other.db").stdout),
          {"file": f"{work.name}/other.db", "entries": 2}, "map build into another file, as JSON")
r = run("map", "query", table, "a.test")
tap.equal((r.returncode, r.stdout), (0, "[127.0.0.1]:26\n"), "map query")
tap.equal(json.loads(run("-j", "map", "query", table, "b.test").stdout), {"key": "b.test", "value": "c.test"}, "as JSON")
r = run("map", "query", table, "z.test")
tap.equal((r.returncode, r.stdout), (1, ""), "map query of what is not there")
r = run("map", "build", write("badmap", "a.test x\na.test y\n"))
tap.ok(r.returncode == 1 and f"{work.name}/badmap:2:" in r.stderr, "map build: an error has its line", r.stderr)
tap.equal(run("map", "query", f"{work.name}/none", "x").returncode, 1, "map query without a map")
with open(f"{table}.db", "r+b") as f:
    f.truncate(os.path.getsize(f"{table}.db") - 512)
tap.equal(run("map", "query", table, "a.test").returncode, 1, "map query of a truncated map")

# version, output errors
r = run("--version", config=False)
tap.ok(r.returncode == 0 and re.fullmatch(r"ekiden \d\S*\n", r.stdout), "--version", r.stdout)
tap.ok("version" in json.loads(run("-j", "version", config=False).stdout), "version as JSON")
with open("/dev/full", "w") as full:
    r = run("config", "show", stdout=full)
tap.ok(r.returncode == 1 and "standard output: No space" in r.stderr, "a full disk is an error", r.stderr)
tap.done()
