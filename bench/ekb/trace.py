# SPDX-License-Identifier: ISC
"""System calls of a suite, counted from outside: those that sync, and all of them by process."""

import pathlib
import re
import signal
import subprocess
import time

from . import rows, tools

SYNCS = ("fsync", "fdatasync", "msync", "syncfs", "sync", "sync_file_range")
ASYNC = ("io_submit", "io_getevents")  # kernel AIO: a sync beside the process, and its end
WRITES = ("write", "writev", "sendto", "sendmsg")

# -- is a 250 preceded by a sync? --

REPLY = re.compile(r"^\d+ +(?:" + "|".join(WRITES) +
                   r')\([^"]*"(?:(?:[^"]*\\n)?(?P<data>354) |(?P<ok>250)[ -])')
SYNCED = re.compile(r"^\d+ +(?:(fsync|fdatasync)\(\d+|<\.\.\. (fsync|fdatasync) resumed>).*\) += 0$")
AIO_SYNC = re.compile(r"^\d+ +io_submit\(.*IOCB_CMD_F(?:D)?SYNC")
AIO_SYNCED = re.compile(r"^\d+ +(?:io_getevents\(|<\.\.\. io_getevents resumed>).*\bres=0, res2=0\}")
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)")


def read_trace(path):
    """(calls that sync, messages whose 250 came after a sync since their 354, messages) of a
    trace of one client that waits for each reply."""
    calls, ordered, answered, open_data, synced = {}, 0, 0, False, False
    for line in pathlib.Path(path).read_text(errors="replace").splitlines():
        name = CALL.match(line)
        if name and name.group(1) in SYNCS and "resumed>" not in line:
            calls[name.group(1)] = calls.get(name.group(1), 0) + 1
        if AIO_SYNC.match(line):
            calls["fdatasync"] = calls.get("fdatasync", 0) + 1
        if SYNCED.match(line) or AIO_SYNCED.match(line):
            synced = True
            continue
        reply = REPLY.match(line)
        if reply and reply["data"]:
            open_data, synced = True, False
        elif reply and open_data:
            open_data = False
            answered += 1
            ordered += synced
    return calls, ordered, answered


def traced_run(ctx, row, cls, sessions, messages):
    """A short run of the row below strace; what read_trace() says of it."""
    mta = cls(ctx.settings)
    trace = ctx.dir / f"strace-{mta.name}"
    options = ["--messages", messages, "--sessions", sessions, "--recipients", row.recipients,
               *row.options]
    sink = tools.Sink(ctx.mailsink, ctx.sink_port)
    try:
        mta.start(ctx.dir / mta.name, hold=row.hold, wrapper=(
            "strace", "-f", "-s", "256", "-o", str(trace), "-e",
            "trace=" + ",".join(SYNCS + ASYNC + WRITES)))
        rows.wait_until(lambda: rows.is_idle(mta), 10, 0)
        before = read_trace(trace)[0]
        tools.source(ctx.mailsource, mta.ports[row.port], options)
        if not row.hold:
            sink.wait_recipients(messages * row.recipients, 60)
    finally:
        mta.stop()
        sink.close()
    calls, ordered, answered = read_trace(trace)
    trace.unlink()
    calls = {name: n - before.get(name, 0) for name, n in calls.items()}
    return calls, ordered, answered


def durability(ctx, row, cls):
    """The row's durability class.  One session at a time: nobody else's message can share a sync,
    so each 250 needs one of its own between the end of the data and the reply.  TLS hides the
    replies from the trace; there the count has to do."""
    report = {}
    for sessions, messages in ((1, 20), (ctx.sessions, 8 * ctx.sessions)):
        calls, ordered, answered = traced_run(ctx, row, cls, sessions, messages)
        syncs = sum(calls.get(x, 0) for x in ("fsync", "fdatasync"))
        report["one" if sessions == 1 and "one" not in report else "many"] = {
            "sessions": sessions, "messages": messages, "calls": calls,
            "ordered": ordered, "answered": answered, "syncs_per_message": syncs / messages}
    one, plain = report["one"], row.port == "plain"
    if plain and one["answered"] != one["messages"]:
        raise ValueError(f"the trace shows {one['answered']} of {one['messages']} messages")
    with_sync = one["ordered"] if plain else min(one["messages"], int(one["syncs_per_message"] *
                                                                      one["messages"]))
    report["durable"] = with_sync == one["messages"]
    report["class"] = ("sync before 250" if report["durable"] else "NO SYNC before 250"
                       if with_sync == 0 else "sync before some 250s")
    return report


# -- all system calls, by process --

# The kernel's names for what mail servers call; what is not listed is counted as "other".
NAMES = """read write readv writev pread64 pwrite64 pwritev recvfrom recvmsg sendto sendmsg sendfile64
epoll_wait epoll_pwait epoll_pwait2 epoll_ctl poll select pselect6 accept accept4 connect socket bind
listen getsockname getpeername getsockopt setsockopt shutdown close open openat newstat newfstat newlstat
newfstatat statx access unlink unlinkat rename link mkdir chmod fchmod chown fchown fsync fdatasync
sync_file_range fallocate ftruncate lseek flock fcntl mmap munmap brk madvise mprotect clone clone3 fork
vfork execve wait4 exit_group kill rt_sigaction rt_sigprocmask alarm setitimer getpid getuid geteuid
gettimeofday clock_gettime clock_nanosleep nanosleep umask getrusage getdents64 futex timerfd_settime
getrandom prctl ioctl io_submit io_getevents dup dup2 pipe pipe2 sendmmsg recvmmsg utime utimensat""".split()


class Perf:
    """perf stat: the kernel counts, at a price of well under a microsecond a call."""

    name = "perf"

    @staticmethod
    def usable():
        p = subprocess.run(["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return p.returncode == 0 and "not supported" not in p.stderr

    def __init__(self, pids, out):
        self.out = out
        known = pathlib.Path("/sys/kernel/tracing/events/syscalls")
        names = [n for n in NAMES if (known / f"sys_enter_{n}").exists()]
        events = ",".join(["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{n}" for n in names])
        self.proc = subprocess.Popen(["perf", "stat", "-x", ",", "-o", str(out), "-e", events,
                                      "-p", ",".join(map(str, pids))], stderr=subprocess.DEVNULL)

    def wait_ready(self):
        time.sleep(0.5)

    def counts(self):
        self.proc.send_signal(signal.SIGINT)
        self.proc.wait(30)
        got = {}
        for line in self.out.read_text().splitlines():
            words = line.split(",")
            if len(words) > 2 and words[0].isdigit() and int(words[0]) > 0:
                got[words[2].split("sys_enter")[-1].lstrip("_")] = int(words[0])
        total = got.pop("", 0)
        got["other"] = total - sum(got.values())
        return {name: n for name, n in got.items() if n > 0}


class Strace:
    """strace -c -f: everywhere, but it slows the suite so much that more is done in a turn."""

    name = "strace"

    @staticmethod
    def usable():
        return True

    def __init__(self, pids, out):
        self.out, self.wanted = out, len(pids)
        self.proc = subprocess.Popen(["strace", "-c", "-f", "-o", str(out), "-p",
                                      ",".join(map(str, pids))], stderr=subprocess.PIPE, text=True)

    def wait_ready(self):
        for _ in range(self.wanted):
            if "attached" not in self.proc.stderr.readline():
                raise RuntimeError("strace cannot attach")

    def counts(self):
        self.proc.send_signal(signal.SIGINT)
        self.proc.communicate(timeout=30)
        got = {}
        for line in self.out.read_text().splitlines():
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                got[words[-1]] = int(words[3])
        return got


COUNTERS = {c.name: c for c in (Perf, Strace)}


def counter(wanted):
    if wanted:
        return COUNTERS[wanted]
    try:
        return Perf if Perf.usable() else Strace
    except FileNotFoundError:
        return Strace


def syscalls(ctx, row, mta):
    """All system calls of all processes, from the first connection until the queue is empty."""
    messages, warmup = ctx.count(row, mta.name), ctx.warmup(row)
    kind = counter(ctx.count_with)
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers)
    try:
        tools.source(ctx.mailsource, mta.ports[row.port], rows.source_options(ctx, row, warmup))
        sink.wait_recipients(warmup * row.recipients, 120)
        rows.settle(mta)
        counters = {role: kind(pids, ctx.dir / f"count-{role}") for role, pids in mta.roles().items()}
        for c in counters.values():
            c.wait_ready()
        meter = rows.Meter(mta)
        out = tools.source(ctx.mailsource, mta.ports[row.port],
                           rows.source_options(ctx, row, messages))
        after = sink.wait_recipients((warmup + messages) * row.recipients, 600)
        time.sleep(0.3)  # no question to the suite here: answering it would be counted
        meter.stop()
        by_process = {role: c.counts() for role, c in counters.items()}
    finally:
        sink.close()
    per_message = {role: {name: n / messages for name, n in calls.items()}
                   for role, calls in by_process.items()}
    total = sum(sum(calls.values()) for calls in per_message.values())
    got = rows.figures(messages, after["last_message"] - out["t_first"], meter, out, after["cpu"])
    return {**got, "syscalls": total, "counted_with": kind.name, "by_process": per_message}
