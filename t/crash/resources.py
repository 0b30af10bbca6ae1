# SPDX-License-Identifier: ISC
"""System calls that fail (strace -e inject), and what a host runs out of: space, inodes, descriptors, memory."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from disk import Unavailable, run
from load import Shapes
from rig import INLINE, Process, Rig, suite as library, tap, wait_for

# role, system calls, error, how often; one suite, one after the other.
INJECTED = (
    ("smtpd", "io_submit,fdatasync", "EIO", "3+1"), ("smtpd", "io_submit", "EAGAIN", "2+2"),
    ("smtpd", "pwritev", "ENOSPC", "5"), ("smtpd", "pwritev", "EIO", "2+3"), ("smtpd", "accept4", "EMFILE", "1+2"),
    ("smtpd", "accept4", "ENFILE", "1+1"), ("smtpd", "sendto,write", "EPIPE", "9"),
    ("qmgr", "fdatasync", "EIO", "2"), ("qmgr", "fdatasync", "EIO", "1+1"),
    ("qmgr", "pwrite64", "ENOSPC", "3+2"), ("qmgr", "fsync", "EIO", "1"),
    ("qmgr", "openat", "EMFILE", "2+3"), ("qmgr", "write,pwrite64", "EIO", "4"),
    ("smtp", "socket", "EMFILE", "1+2"), ("smtp", "connect", "EADDRNOTAVAIL", "1+2"),
    ("smtp", "pread64", "EIO", "3"), ("smtp", "socket", "EACCES", "1"),
    ("authd", "fdatasync", "EIO", "1"), ("bounce", "io_submit,fdatasync", "EIO", "1+1"),
    ("bounce", "pwritev", "ENOSPC", "1+2"), ("dnsd", "socket", "EMFILE", "1"),
)


def inject(rig, role, calls, error, when):
    """strace on the processes of the role, for a while; how often a call was made to fail. What is made in
    its place must be a call that the sandbox permits: otherwise this would be just another kill."""
    out = os.path.join(rig.suite.dir, "strace")
    pids = [a for p, _ in rig.suite.pids(role) for a in ("-p", str(p))]
    p = subprocess.Popen(["strace", "-f", "-q", "-o", out, "-e", f"trace={calls}", "-e",
                          f"inject={calls}:error={error}:syscall=getpid:when={when}", *pids], stderr=subprocess.DEVNULL)
    time.sleep(0.2)
    rig.load(2, pause=0.01)  # slow enough that no queue grows: the calls shall be made within this second
    if role == "authd":  # mail alone makes it write only now and then
        rig.suite.mtactl("domain", "add", "acme", f"d{time.monotonic_ns()}.test", check=False)
    time.sleep(0.8)
    p.send_signal(signal.SIGINT)
    p.wait(10)
    with open(out, errors="replace") as f:
        return f.read().count("(INJECTED)")


def injections(args):
    if shutil.which("strace") is None or subprocess.run(
            ["strace", "-q", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        tap.count += 1
        print(f"ok {tap.count} # skip strace cannot be used here")
        return
    rig = Rig(seed=args.seed)
    rig.begin()
    chosen = [i for i in (INJECTED[::7] if args.short else INJECTED) if re.search(
        args.only or ".", f"inject {i[0]} {i[1]}")]
    for turn, (role, calls, error, when) in enumerate(chosen):
        if turn % 4 == 3:  # the queue shall not grow
            rig.settle()
        if turn:  # nothing that the last failure slowed down lasts, and connections are new
            rig.fault("kill all", rig.suite.kill9)
            rig.suite.start()
        hits = []
        wrong = len(rig.checker.wrong)
        rig.fault(f"{role} {calls} {error}", lambda: hits.append(inject(rig, role, calls, error, when)))
        acked = rig.unload()
        if rig.suite.proc.p.poll() is not None:
            rig.suite.start()
        rig.nothing_lost()
        tap.ok(not rig.checker.wrong[wrong:], f"S35 {role}: {calls} fails with {error} ({hits[0]} times), "
               f"{acked} accepted meanwhile", "\n".join(rig.checker.wrong[wrong:][:10]))
    rig.settle()
    rig.verdict("failing system calls")
    rig.end()


class Tmpfs:
    """A place that runs full; .at as a disk's."""

    def __init__(self, options):
        self.at = tempfile.mkdtemp(prefix="ekiden-full.")
        os.chmod(self.at, 0o755)
        run("mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs", self.at)

    def remove(self):
        subprocess.run(["umount", "-l", self.at], check=False)
        shutil.rmtree(self.at, ignore_errors=True)


def start_or_end(suite):
    """Without one free block, recovery of a database may be impossible: then master says so and ends."""
    suite.proc = Process([f"{library.BUILD}/master/ekiden", "-f", "-c", suite.conf], stderr=suite.stderr)
    wait_for(lambda: suite.proc.p.poll() is not None or
             suite.mtactl("queue", "count", check=False).returncode == 0, 20, "the suite to start or to end")
    return suite.proc.p.poll() is None


def full(args, what, options, mix, big, filler, empty):
    """Accepts until it is refused, survives a kill in that state, delivers, and accepts again."""
    try:
        disk = Tmpfs(options)
    except Unavailable as e:
        tap.count += 1
        print(f"ok {tap.count} # skip {what}: {e}")
        return
    try:
        rig = Rig(disk, seed=args.seed, shapes=Shapes(INLINE, mix=mix, big=big))
        rig.begin()
        rig.load(3)
        filled = filler(disk.at)
        time.sleep(1.5)
        refused = sum(c.refused for c in rig.clients)
        accepted = rig.unload()
        rig.nothing_lost()
        rig.fault(f"kill all, {what}", rig.suite.kill9)
        started = start_or_end(rig.suite)
        if started:
            rig.nothing_lost()
        empty(filled)
        if not started:
            rig.suite.start()
            rig.nothing_lost()
        rig.settle()
        rig.load(2)
        again = []
        try:
            wait_for(lambda: sum(c.acked for c in rig.clients) > 5, 15, "mail to be accepted again")
        except AssertionError as e:
            again.append(str(e))
        rig.unload()
        rig.settle()
        tap.ok(refused and not again, f"J2 {what}: {accepted} accepted, then refused ({refused} times), killed, "
               f"{'started' if started else 'not started before there was room'}, delivered, accepted again", "\n".join(again + rig.suite.log().splitlines()[-10:]))
        rig.verdict(what)
        rig.end()
    finally:
        disk.remove()


def fill_space(at):
    path = os.path.join(at, "filler")
    try:
        with open(path, "wb", buffering=0) as f:
            while f.write(b"\0" * 4096):
                pass
    except OSError:
        pass
    return [path]


def fill_inodes(at):
    made = []
    try:
        while True:
            made.append(os.path.join(at, f"i{len(made)}"))
            os.close(os.open(made[-1], os.O_CREAT | os.O_WRONLY))
    except OSError:
        made.pop()
    return made


def unlink_all(paths):
    for p in paths:
        try:
            os.unlink(p)
        except FileNotFoundError:
            pass


def limited(rig, name, option, clients):
    """The suite under a resource limit that hardly suffices, until it is killed; then without."""
    s = rig.suite
    rig.fault("kill all", s.kill9)
    wrong = len(rig.checker.wrong)

    def work():
        s.proc = Process(["prlimit", option, f"{library.BUILD}/master/ekiden", "-f", "-c", s.conf],
                         stderr=s.stderr)
        rig.load(clients)
        time.sleep(1.5)
        s.kill9()

    rig.fault(name, work)
    acked, refused = sum(c.acked for c in rig.clients), sum(c.refused for c in rig.clients)
    rig.unload()
    s.start()
    rig.nothing_lost()
    tap.ok(acked and not rig.checker.wrong[wrong:], f"J3 {name}: {acked} accepted, {refused} times refused, "
           "none lost", "\n".join(rig.checker.wrong[wrong:][:10]))


def virtual_memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmSize:\s+(\d+)", f.read()).group(1)) << 10


def limits(args):
    rig = Rig(seed=args.seed)
    rig.begin()
    largest = max(virtual_memory(pid) for pid, _ in rig.suite.pids())
    limited(rig, "96 descriptors a process", "--nofile=96:96", 60)
    for spare in (1,) if args.short else (1, 4):
        limited(rig, f"{spare} MiB of memory to spare", f"--as={largest + (spare << 20)}", 4)
    rig.settle()
    rig.verdict("resource limits")
    rig.end()


def main(args):
    wanted = args.only or "."
    if any(re.search(wanted, f"inject {i[0]} {i[1]}") for i in INJECTED):
        injections(args)
    if re.search(wanted, "space"):
        full(args, "file system full", "size=96m", (("later", 1),), 20, fill_space, unlink_all)
    if re.search(wanted, "inodes") and not args.short:
        full(args, "no inodes", "size=256m,nr_inodes=120", (("later", 1),), 200, fill_inodes, unlink_all)
    if re.search(wanted, "limits"):
        limits(args)
    tap.done()
