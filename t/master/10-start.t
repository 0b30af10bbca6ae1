#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Start: what each daemon is given, as whom it runs, and what is refused."""

import os
import re
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fakes import Instance, ROLES, UID_BASE, gone, notify_socket, tap, wait_for  # noqa: E402

PEERS = {
    "smtpd": "authd/0 dnsd/0 qmgr/0 signd/0",
    "authd": "dnsd/0 qmgr/0 smtpd/0 smtpd/1",
    "signd": "smtp/0 smtp/1 smtpd/0 smtpd/1",
    "qmgr": "authd/0 bounce/0 dnsd/0 smtp/0 smtp/1 smtpd/0 smtpd/1",
    "smtp": "dnsd/0 qmgr/0 signd/0",
    "bounce": "qmgr/0",
    "dnsd": "authd/0 qmgr/0 smtp/0 smtp/1 smtpd/0 smtpd/1",
}
MATERIAL = {"smtpd": {"listener", "ticket", "cert", "dkim_apply"}, "signd": {"key", "dkim_apply"},
            "smtp": {"trust", "secret", "cert"},
            "authd": set(), "qmgr": set(), "bounce": set(), "dnsd": set()}
root = os.geteuid() == 0


def proc_status(pid):
    return dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines()
                if ":\t" in line)


def check_material(m):
    state = {role: m.state(role) for role in ROLES[1:]}
    for role in ROLES[1:]:
        tap.equal(" ".join(sorted(state[role]["peers"].split())), PEERS[role],
                  f"{role} has a live channel to each of its peers and to nobody else")
        kinds = {word.split("=")[0] for word in state[role]["material"].split()}
        tap.equal(kinds, MATERIAL[role], f"atk-B15 {role} gets its material and nothing else")
        tap.equal(state[role]["instances"], "2" if role in ("smtpd", "smtp") else "1",
                  f"{role} knows how many there are")
    words = state["smtpd"]["material"].split()
    tap.ok(f"listener=1,127.0.0.1:{m.ports[1]},listens" in words, "listeners by number and address",
           words)
    tickets = [w.split(",")[1] for w in words if w.startswith("ticket=")]
    tap.equal((len(tickets), len(set(tickets))), (4, 4),
              "atk-B9 every listener has ticket keys of its own, one to make and one to open")
    tap.ok("secret=relayhost,me,s3cret:x" in state["smtp"]["material"], "the smarthost's secret",
           state["smtp"])


def check_confinement(m, rows):
    allowed = re.compile(r"socket:|anon_inode:|/dev/null|.*/mail\.log|.*/events|.*/stderr|"
                         r"/memfd:ekiden")
    for name, row in rows.items():
        role = name.split("/")[0]
        if role == "master":
            continue
        s = proc_status(row["pid"])
        tap.equal(s["Seccomp"].strip(), "2", f"{name} runs under seccomp")
        tap.equal(s["NoNewPrivs"].strip(), "1", f"{name} can gain no privileges")
        fds = {fd: os.readlink(f"/proc/{row['pid']}/fd/{fd}") for fd in
               os.listdir(f"/proc/{row['pid']}/fd")}
        tap.ok(all(allowed.match(t) for t in fds.values()), f"atk-I7 {name} has no other descriptor",
               fds)
        if not root:
            continue
        uid = str(UID_BASE + ROLES.index(role))
        tap.equal((s["Uid"].split(), s["Gid"].split(), s["Groups"].split()), ([uid] * 4, [uid] * 4, []),
                  f"atk-I5 {name} has user and group id of its role alone")
        tap.equal([s[c].strip("0") for c in ("CapEff", "CapPrm", "CapAmb")], ["", "", ""],
                  f"{name} has no capability")
        want = {"qmgr": "/spool", "authd": "/state/authd", "bounce": "/state/bounce"}
        tap.equal(os.readlink(f"/proc/{row['pid']}/root"), m.dir + want.get(role, "/run/empty"),
                  f"{name} is confined to its folder")
        env = open(f"/proc/{row['pid']}/environ").read()
        tap.ok("PATH=" not in env and "HOME=" not in env, f"{name} does not inherit our environment")


def mode(path):
    st = os.stat(path)
    return oct(stat.S_IMODE(st.st_mode)), st.st_uid


def check_folders(m):
    me = os.geteuid()

    def uid(role):
        return UID_BASE + ROLES.index(role) if root else me
    for path, want in {
            "run": ("0o755", me), "run/empty": ("0o755", me), "run/control": ("0o600", me),
            "state": ("0o755", me), "state/authd": ("0o700", uid("authd")),
            "state/bounce": ("0o700", uid("bounce")), "spool": ("0o700", uid("qmgr")),
            "spool/seg": ("0o700", uid("qmgr")), "spool/big": ("0o700", uid("qmgr")),
            "spool/db": ("0o700", uid("qmgr")), "spool/maps": ("0o700", uid("qmgr")),
            "spool/quarantine": ("0o700", uid("qmgr")), "mail.log": ("0o640", me)}.items():
        tap.equal(mode(f"{m.dir}/{path}"), want, f"atk-I2 owner and mode of {path}")


def refusals(m):
    r = m.run("-t")
    tap.equal((r.returncode, r.stdout), (0, f"{m.conf}: good\n"), "-t says that it is good")
    r = m.run("-f")
    tap.ok(r.returncode == 1 and "already running with pid" in r.stderr, "there is only one master",
           r.stderr)
    tap.ok(m.ready(), "which is not disturbed")
    tap.equal(m.run("--bogus").returncode, 2, "a wrong option: exit 2")
    tap.equal(m.run("--help").returncode, 0, "--help: exit 0")
    tap.match(m.run("--version").stdout, r"^ekiden \d", "--version")
    other = Instance("other")
    text = open(other.conf).read()
    with open(other.conf, "w") as f:
        f.write(text.replace("uid-base", "uid-bass"))
    r = other.run("-t")
    tap.match(r.stderr, r"ekiden\.conf:6:1: .*uid-base", "-t: file, line, column and the nearest name")
    tap.equal(r.returncode, 2, "a wrong configuration: exit 2")
    tap.equal(other.run("-f").returncode, 2, "nor does it start")
    other.write(listeners=f"listen a {{ address 127.0.0.1:{m.ports[0]}; auth required; }}\n")
    r = other.run("-f")
    tap.ok(r.returncode == 1 and "Address already in use" in r.stderr, "a port in use: exit 1", r.stderr)
    other.write(postmaster="refuse-dnsd@x")
    r = other.run("-f")
    tap.ok(r.returncode == 1 and "dnsd/0: told to refuse" in r.stderr,
           "a daemon that refuses to start ends all", r.stderr)
    tap.ok(not os.path.exists(other.control), "and leaves no socket")
    r = other.run()
    tap.ok(r.returncode == 1 and "dnsd/0: told to refuse" in r.stderr,
           "in the background the same reaches who started it", r.stderr)


def certificates(m):
    other = Instance("cert")
    crt, key = other.certificate
    wrong = f"{other.dir}/wrong.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-out", wrong], check=True, stderr=subprocess.DEVNULL)
    os.chmod(wrong, 0o600)
    other.certificate = (crt, wrong)
    other.write()
    r = other.run("-t")
    tap.ok(r.returncode == 2 and "do not belong together" in r.stderr, "a key of another certificate",
           r.stderr)
    os.chmod(wrong, 0o644)
    r = other.run("-t")
    tap.ok(r.returncode == 2 and "0644" in r.stderr, "atk-I6 a key that others can read", r.stderr)


def background():
    other = Instance("back")
    r = other.run()
    tap.equal((r.returncode, r.stderr), (0, ""), "in the background: the command ends when all is ready")
    rows = other.ready()
    tap.ok(rows, "and all is ready")
    pid = int(open(f"{other.dir}/run/master.pid").read())
    tap.equal(str(pid), rows["master/0"]["pid"], "the pid file names master")
    pids = [int(r["pid"]) for r in rows.values()]
    os.kill(pid, 9)
    tap.ok(wait_for(lambda: gone(pids), 10, "their end"), "no daemon outlives a killed master")
    r = other.run()
    tap.equal(r.returncode, 0, "the next one starts over what it left")
    tap.equal(other.ask("stop")[0], 0, "and stops by command")
    tap.ok(not os.path.exists(other.control) and not os.path.exists(f"{other.dir}/run/master.pid"),
           "socket and pid file are gone when the command returns")


def main():
    notify, path = notify_socket()
    m = Instance()
    secret = f"{m.dir}/secret"
    with open(secret, "w") as f:
        f.write("s3cret:x\n")
    os.chmod(secret, 0o600)
    m.write(extra=f"relayhost [127.0.0.1]:9\nrelay-user me\nrelay-secret {secret}\n")
    m.start(path)
    rows = m.ready()
    tap.equal(sorted(rows or []), sorted(
        ["master/0", "smtpd/0", "smtpd/1", "authd/0", "signd/0", "qmgr/0", "smtp/0", "smtp/1",
         "bounce/0", "dnsd/0"]), "all daemons run")
    if not rows:
        print(m.stderr(), m.log())
        tap.done()
    said = notify.recv(999).decode()
    while "READY" not in said:
        said = notify.recv(999).decode()
    tap.match(said, f"READY=1\nMAINPID={m.pid}\n", "systemd is told")
    check_material(m)
    check_confinement(m, rows)
    check_folders(m)
    refusals(m)
    certificates(m)
    s = socket.create_connection(("127.0.0.1", m.ports[0]), 5)
    tap.ok(s, "the listener listens")
    background()
    tap.equal(m.proc.end(), 0, "SIGTERM: exit 0")
    tap.match(notify.recv(999).decode(), "STOPPING=1", "systemd is told of the end")
    tap.done()


main()
