#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What a daemon that was taken over could do, tried from inside each of them, as root starts them.

atk-I13: actions that a role must not do are refused (needs a build with --enable-faults beside this one).
atk-I7: the descriptors of each daemon are those of its list, and close on exec.
atk-B15, T07: no private key is in the memory of the processes that talk to the network.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import suite  # noqa: E402
from suite import *  # noqa: E402,F403

private_network()
ROLES = ("smtpd", "authd", "signd", "qmgr", "smtp", "bounce", "dnsd")
MARK = b"probe: %s"


def program(build, role):
    with open(f"{build}/{role}/{role}", "rb") as f:
        return f.read()


def has_probe(build):
    try:
        return all(MARK in program(build, r) for r in ROLES)
    except OSError:
        return False


# --- The table: what comes of each action, by role.
K, N, OK = "killed", "ENOENT", "done"
FILES = {"authd", "qmgr", "bounce"}


def all_roles(outcome, **other):
    return {r: other.get(r, outcome) for r in ROLES}


def files(outcome, refused=N):
    return {r: outcome if r in FILES else refused for r in ROLES}


TABLE = {
    "read-shadow": all_roles(N), "climb-out": all_roles(N), "list-proc": all_roles(N),
    "read-parents-memory": all_roles(N), "read-parents-socket": all_roles(N), "open-tty": all_roles(N),
    "open-disk": all_roles(N),
    "list-root": files(OK), "create-file": files(OK), "open-beneath": files(K),
    "socket-tcp": all_roles(K, smtp=OK, dnsd=OK), "socket-tcp6": all_roles(K, smtp=OK, dnsd=OK),
    "connect": all_roles(K, smtp=OK, dnsd=OK), "bind-low": all_roles(K, smtp="EACCES", dnsd="EACCES"),
    "socket-udp": all_roles(K, dnsd=OK), "send-abstract": all_roles(K, dnsd="EISCONN"),
    "accept": all_roles(K, smtpd="EINVAL"),
    "be-dumpable": all_roles("EPERM"), "feed-terminal": all_roles("ENOTTY"),
}
for action in ("open-by-handle make-link make-node change-owner socket-raw socket-packet socket-unix socket-netlink "
               "socket-vsock socket-alg socket-pair listen execute execute-fd fork trace-me trace-parent kill-parent "
               "kill-all kill-thread queue-signal read-memory write-memory open-pidfd take-fd compare others-limit "
               "map-code make-code memory-file become-root become-group change-root mount unshare join-namespace "
               "raise-limit bpf keyring io-uring userfaultfd perf shm inotify load-module set-clock set-name "
               "call-32bit").split():
    TABLE[action] = all_roles(K)


def probes(build):
    """{(role, action): outcome} of a suite of that build."""
    suite.BUILD = build
    os.environ["EKIDEN_FAULT"] = "probe"
    s = Suite(name="probed")
    del os.environ["EKIDEN_FAULT"]
    lines = []

    def complete():
        with open(os.path.join(s.dir, "stderr")) as f:
            lines[:] = re.findall(r"^probe: (\S+) (\S+) (.+)$", f.read(), re.M)
        return len(set(line[:2] for line in lines)) >= len(TABLE) * len(ROLES)
    try:
        wait_for(complete, 60, "all probes", 0.2)
    except AssertionError:
        pass  # the table shows what is missing
    working = s.mtactl("status", check=False).returncode == 0
    s.stop()
    return {(r, a): o for r, a, o in lines}, working


builds = [b for b in (suite.BUILD, os.environ.get("EKIDEN_FAULT_BUILD", os.path.join(SRC, "build-asan"))) if has_probe(b)]
ours = suite.BUILD
if builds:
    found, working = probes(builds[0])
    sanitized = b"__asan" in program(builds[0], "smtpd")
    tap.ok(working, "the suite that was probed works")
    for action, wanted in TABLE.items():
        for role in ROLES:
            got, want = found.get((role, action)), wanted[role]
            if action == "fork" and sanitized:
                want = "EPERM"  # what the sanitizer's runtime would like to do is refused more gently
            if action == "call-32bit" and got == "Segmentation fault":
                want = got  # the kernel has no such calls
            tap.equal(got, want, f"atk-I13 {role}: {action}: {want}")
    tap.equal(sorted({a for _, a in found} - set(TABLE)), [], "every probe has its row")
    suite.BUILD = ours
else:
    print("# no build with --enable-faults: nothing is tried from inside")
if not has_probe(ours):
    tap.ok(not any(MARK in program(ours, r) or b"read-shadow" in program(ours, r) for r in ROLES),
           "this build has no probes in it")

# --- The running suite, after it has done its work: TLS with both kinds of keys, a delivery, a report.
ns = Nsd({"rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.2", "sender.test": "@ IN A 127.0.0.2"})
sink = Sink("127.0.0.2", 25, reply=lambda stage, arg, session: "550 5.1.1 no" if stage == "rcpt" and "<no@" in arg else None,
            tls=make_certificate("sink.test"))


def rsa_certificate():
    base = os.path.join(folder(), "rsa")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=rsa.test",
                    "-keyout", base + ".key", "-out", base + ".crt"], check=True, stderr=subprocess.DEVNULL)
    return base + ".crt", base + ".key"


crt, key = rsa_certificate()
RSA_PORT = free_port()
s = Suite(extra=f"certificate rsa {{ chain {crt}; key {key}; }}\n"
          f"listen rsa {{ address 127.0.0.1:{RSA_PORT}; tls implicit; certificate rsa; auth required; reverse-lookup no; }}\n")
secret = s.tenant()
for n in range(4):
    submit(s, secret, subject=f"fds{n}")
submit(s, secret, rcpts=("no@rcpt.test",), subject="refused")
for n in range(4):
    with socket.create_connection(("127.0.0.1", RSA_PORT)) as raw, client_context().wrap_socket(raw) as t:
        t.recv(100)
sink.wait(4)
s.wait_log("status=bounced")
wait_for(lambda: s.queue_count(), 10, "an answer")

# --- Who they are.
uids = {}
for pid, role in s.pids():
    with open(f"/proc/{pid}/status") as f:
        status = dict(re.findall(r"^(\w+):[ \t]*(.*)$", f.read(), re.M))
    uid = set(status["Uid"].split()) | set(status["Gid"].split())
    tap.ok(len(uid) == 1 and uid != {"0"}, f"atk-I13 {role}: one user id, not 0", status["Uid"])
    uids.setdefault(role, set()).update(uid)
    tap.equal((status["Groups"].strip(), status["CapEff"].strip("0"), status["CapPrm"].strip("0"), status["CapBnd"] is not None,
               status["NoNewPrivs"], status["Seccomp"]), ("", "", "", True, "1", "2"),
              f"atk-I13 {role}: no groups, no capabilities, no new ones, system calls filtered")
    root = os.readlink(f"/proc/{pid}/root")
    inside = os.listdir(f"/proc/{pid}/root/")
    tap.ok(root.startswith(s.dir) and (role in FILES or inside == []),
           f"atk-I13 {role}: sees {'its own folder' if role in FILES else 'an empty folder'} only", (root, inside))
tap.ok(len({next(iter(u)) for u in uids.values()}) == len(ROLES), "atk-I13 every role has a user id of its own", uids)

# --- Descriptors (atk-I7). Kinds: what a descriptor is; each role has a list of what it may have.
UNIX = {}
with open("/proc/net/unix") as f:
    for line in f.read().splitlines()[1:]:
        UNIX[line.split()[6]] = line.split()
LISTEN = {line.split()[9] for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").read().splitlines()[1:]
          if line.split()[3] == "0A"}
INET = {line.split()[9] for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").read().splitlines()[1:]}
UDP = {line.split()[9] for name in ("udp", "udp6")
       for line in open(f"/proc/net/{name}").read().splitlines()[1:]}


def kind(path):
    if path == "/dev/null":
        return "null"
    if path.startswith("socket:["):
        inode = path[8:-1]
        return "channel" if inode in UNIX else "listener" if inode in LISTEN else "session" if inode in INET else \
            "datagram" if inode in UDP else "socket"
    for prefix, name in ((os.path.join(s.dir, "mail.log"), "log"), (os.path.join(s.dir, "stderr"), "stderr"),
                         (os.path.join(s.dir, "spool/seg"), "segment"), (os.path.join(s.dir, "spool/big"), "big"),
                         (os.path.join(s.dir, "spool/db"), "db"), (os.path.join(s.dir, "spool"), "spool"),
                         (os.path.join(s.dir, "state/authd"), "authdb"), ("anon_inode:[eventpoll]", "epoll"),
                         ("anon_inode:[signalfd]", "signals"), ("anon_inode:[eventfd]", "eventfd"), ("pipe:", "pipe"), ("/memfd:", "memfd")):
        if path.startswith(prefix):
            return name
    return path


peers = {r: 0 for r in ROLES}
pids = {r: [p for p, role in s.pids() if role == r] for r in ROLES}
n = {r: len(p) for r, p in pids.items()}
with open(f"{SRC}/master/plan.c") as f:  # who may talk to whom is declared there, and nowhere else
    LINKS = [(a.lower(), b.lower()) for a, b in re.findall(r"^\t\{ ROLE_(\w+), ROLE_(\w+) \},", f.read(), re.M)]
tap.ok(len(LINKS) >= 8, "the table of channels was found", LINKS)
for a, b in LINKS:
    peers[a] += n[b]
    peers[b] += n[a]
MAY = {  # beside 0-2, the loop, the log and the channels: exactly so many of these, or up to
    "smtpd": {"listener": 4, "segment": (0, 3), "eventfd": (0, 1)},
    "authd": {"authdb": (1, 30)},
    "signd": {},
    "qmgr": {"eventfd": (0, 2), "segment": (1, 40), "db": (1, 30), "spool": (0, 6), "big": (0, 3)},
    "smtp": {"segment": (0, 10), "session": (0, 4)},
    "bounce": {"segment": (0, 3), "eventfd": (0, 1)},
    "dnsd": {"datagram": (0, 40), "session": (0, 4), "pipe": (0, 2)},
}
for role in ROLES:
    for pid in pids[role]:
        have, loose, unknown = {}, [], []
        for fd in os.listdir(f"/proc/{pid}/fd"):
            k = kind(os.readlink(f"/proc/{pid}/fd/{fd}"))
            flags = int(re.search(r"flags:\s*(\d+)", open(f"/proc/{pid}/fdinfo/{fd}").read())[1], 8)
            if int(fd) > 2:
                have[k] = have.get(k, 0) + 1
                if not flags & os.O_CLOEXEC:
                    loose.append((fd, k))
            elif k not in ("null", "stderr"):
                unknown.append((fd, k))
        want = {"epoll": 1, "log": 1, "channel": 1 + peers[role], **MAY[role]}
        low = {k: v if isinstance(v, int) else v[0] for k, v in want.items()}
        high = {k: v if isinstance(v, int) else v[1] for k, v in want.items()}
        wrong = [k for k in have if not low.get(k, 0) <= have[k] <= high.get(k, 0)] + \
                [k for k in low if have.get(k, 0) < low[k]]
        tap.ok(not wrong and not unknown, f"atk-I7 {role}: its descriptors are those of its list: {have}",
               (wrong, unknown, want))
        tap.equal(loose, [], f"atk-I7 {role}: all of them close on exec")


# --- Memory (atk-B15).
def numbers(path):
    """The secret numbers of a key as bytes: the EC scalar, or an RSA key's primes and exponents."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-text", "-noout"], check=True, capture_output=True,
                          text=True).stdout
    out = {}
    for name in ("priv", "prime1", "prime2", "privateExponent", "exponent1", "exponent2", "coefficient"):
        m = re.search(rf"^{name}:\s*\n((?: +[0-9a-f:]+\n?)+)", text, re.M)
        if m:
            out[name] = bytes.fromhex(re.sub(r"[^0-9a-f]", "", m[1])).lstrip(b"\0")
    return out


def needles(path):
    """The forms a key may have in memory: text, and numbers in both byte orders (as in DER, as in limbs)."""
    with open(path, "rb") as f:
        pem = f.read()
    found = {"PEM line": pem.splitlines()[1]}
    for name, value in numbers(path).items():
        found[name] = value[:32]
        found[name + ", limbs"] = value[::-1][:32]
    return found


def memory(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
            if m[3][0] != "r" or m[4] in ("[vvar]", "[vsyscall]", "[vdso]"):
                continue
            start, end = int(m[1], 16), int(m[2], 16)
            try:
                mem.seek(start)
                yield mem.read(end - start)
            except (OSError, ValueError):
                pass


def holds(pid, secrets):
    return sorted({name for block in memory(pid) for name, value in secrets.items() if value in block})


for what, path in (("the EC key", s.certificate[1]), ("the RSA key", key)):
    secrets = needles(path)
    for role in ROLES:
        for pid in pids[role]:
            got = holds(pid, secrets)
            if role == "signd":
                tap.ok(any("limbs" in x for x in got), f"T07: {what} is in signd, where this test finds it", got)
                tap.ok("PEM line" not in got, "   but no longer as text", got)
            else:
                tap.equal(got, [], f"atk-B15, T07: {what} is not in {role}")
text = {"a tenant's secret": secret.encode()}
for role in ("signd", "qmgr", "smtp", "bounce", "dnsd"):
    for pid in pids[role]:
        tap.equal(holds(pid, text), [], f"atk-E8: a tenant's secret never reached {role}")
s.stop()
tap.done()
