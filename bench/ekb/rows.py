# SPDX-License-Identifier: ISC
"""The rows of the table: what is done to one freshly started suite, and what is read off it."""

import dataclasses
import os
import subprocess
import time
import typing

from . import host, tools

KIB = 1024


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    run: typing.Callable
    share: float = 1.0  # of --messages
    options: tuple = ()
    port: str = "plain"
    recipients: int = 1
    sessions: int = 0  # 0: --sessions
    long: bool = False
    hold: bool = False


class Meter:
    """Clock, CPU of the suite, of kernel threads and of the whole machine, until stop()."""

    def __init__(self, mta):
        self.mta = mta
        self.first = self.read()

    def read(self):
        busy, stolen = host.busy_seconds()
        return {"seconds": host.monotonic(), "cpu": self.mta.cpu_seconds(), "busy": busy,
                "stolen": stolen, "kernel": host.kernel_thread_seconds(),
                "own": time.process_time()}

    def stop(self):
        now = self.read()
        for key, value in now.items():
            setattr(self, key, value - self.first[key])
        return self


def wait_until(test, seconds, tick=0.1):
    """False when the test has not come true in time; a test that cannot tell (None) passes."""
    end = host.monotonic() + seconds
    while host.monotonic() < end:
        if test() in (True, None):
            return True
        time.sleep(tick)
    return False


def source_options(ctx, row, messages):
    sessions = row.sessions or ctx.sessions
    return ["--messages", messages, "--sessions", min(sessions, messages), "--recipients",
            row.recipients, *row.options]


def latencies(out):
    lat = out["latency_us"]
    return {f"{short}_{q}_ms": lat[name][q] / 1000
            for short, name in (("banner", "banner"), ("txn", "transaction"), ("eod", "end_of_data"))
            for q in ("p50", "p99")}


def disturbed(meter, tools_cpu):
    """Share of the machine that other people's processes used.  Above 0.1 a run says little."""
    other = meter.busy - meter.cpu - meter.kernel - meter.own - tools_cpu
    return max(0.0, other) / meter.seconds / os.cpu_count()


def figures(messages, seconds, meter, out, sink_cpu):
    """What every message row reports."""
    source_cpu = out["cpu_user"] + out["cpu_sys"]
    return {"messages": messages, "seconds": seconds, "rate": messages / seconds,
            "cpu_ms": meter.cpu * 1000 / messages, "source_rate": out["rate"],
            "kernel_ms": meter.kernel * 1000 / messages, "source_cpu_s": source_cpu,
            "sink_cpu_s": sink_cpu, "disturbed": disturbed(meter, source_cpu + sink_cpu),
            "stolen_s": meter.stolen, "window_s": meter.seconds, **latencies(out)}


def accept(ctx, row, mta):
    """Reception alone: the rate is the client's, until the last 250."""
    messages = ctx.count(row, mta.name)
    port = mta.ports[row.port]
    tools.source(ctx.mailsource, port, source_options(ctx, row, ctx.warmup(row)))
    host.sync_fs(mta.dir)
    meter = Meter(mta)
    out = tools.source(ctx.mailsource, port, source_options(ctx, row, messages))
    meter.stop()
    return figures(messages, out["seconds"], meter, out, 0.0)


def relay(ctx, row, mta):
    """From the first connection of the client to the last delivery at the sink."""
    messages, warmup = ctx.count(row, mta.name), ctx.warmup(row)
    port = mta.ports[row.port]
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers)
    try:
        tools.source(ctx.mailsource, port, source_options(ctx, row, warmup))
        before = sink.wait_recipients(warmup * row.recipients, 120)
        wait_until(mta.queue_empty, 20)
        host.sync_fs(mta.dir)
        meter = Meter(mta)
        out = tools.source(ctx.mailsource, port, source_options(ctx, row, messages))
        after = sink.wait_recipients((warmup + messages) * row.recipients, 600)
        emptied = wait_until(mta.queue_empty, 20)
        meter.stop()
    finally:
        sink.close()
    if after["recipients"] != (warmup + messages) * row.recipients:
        print(f"ekbench: {mta.name}: {after['recipients']} deliveries, more than were sent",
              flush=True)
    got = figures(messages, after["last_message"] - out["t_first"], meter, out,
                  after["cpu"] - before["cpu"])
    got["queue_emptied"] = emptied
    got["transactions_out"] = after["messages"] - before["messages"]
    got["connections_out"] = after["connections"] - before["connections"]
    return got


def idle(ctx, row, mta):
    """Memory of sessions that have said EHLO and then nothing."""
    count = ctx.idle
    tools.source(ctx.mailsource, mta.ports[row.port],
                 ["--messages", 5, "--sessions", 1, *row.options])
    time.sleep(1)
    pss, available, meter = host.pss_bytes(mta.pids()), host.memory_available(), Meter(mta)
    sessions = tools.Idle(ctx.mailsource, mta.ports[row.port], count,
                          ["--sessions", ctx.sessions, *row.options])
    try:
        time.sleep(2)
        meter.stop()
        pids = mta.pids()
        after, available_after = host.pss_bytes(pids), host.memory_available()
    finally:
        sessions.close()
    return {"sessions": count, "rate": count / sessions.seconds, "cpu_ms": meter.cpu * 1000 / count,
            "pss_kb": (after - pss) / count / KIB, "pss_total_mb": after / KIB / KIB,
            "host_kb": (available - available_after) / count / KIB, "processes": len(pids),
            "disturbed": disturbed(meter, sessions.cpu_s), "stolen_s": meter.stolen,
            "window_s": meter.seconds}


def timed(argv):
    begin = host.monotonic()
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                       timeout=1200)
    return host.monotonic() - begin, p.stdout.count(b"\n"), p.returncode


def backlog(ctx, row, mta):
    """The destination is down (nobody listens), the queue fills; then list, restart, drain."""
    count, got = ctx.backlog, {}
    meter = Meter(mta)
    out = tools.source(ctx.mailsource, mta.ports[row.port], source_options(ctx, row, count), 3600)
    got.update(messages=count, rate=out["rate"], **latencies(out))
    begin = host.monotonic()
    got["settled"] = wait_until(mta.queue_settled, 1800, 1)
    got["settle_s"] = host.monotonic() - begin
    got["cpu_ms"] = meter.stop().cpu * 1000 / count
    got["pss_total_mb"] = host.pss_bytes(mta.pids()) / KIB / KIB
    got["list_s"], got["list_lines"], got["list_status"] = timed(mta.queue_list())
    begin = host.monotonic()
    mta.stop()
    got["stop_s"] = host.monotonic() - begin
    got["restart_s"] = mta.restart()
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers)
    try:
        meter, begin = Meter(mta), host.monotonic()
        got["flush_status"] = timed(mta.queue_flush())[2]
        after = sink.wait_recipients(count, 3600, 0.5)
        got["drain_s"] = after["last_message"] - begin
        got["drain_rate"] = count / got["drain_s"]
        wait_until(mta.queue_empty, 60)
        got["drain_cpu_ms"] = meter.stop().cpu * 1000 / count
    finally:
        sink.close()
    return got


ROWS = (
    Row("accept", "accept only, 4 KiB", accept, hold=True),
    Row("relay-4k", "relay 4 KiB, 1 recipient", relay),
    Row("relay-4k-10r", "relay 4 KiB, 10 recipients", relay, 0.4, recipients=10),
    Row("relay-100k", "relay 100 KiB", relay, 0.3, ("--size", 100 * KIB)),
    Row("conn", "relay 4 KiB, connection per message", relay, 0.6, ("--per-connection", 1)),
    Row("tls-reuse", "relay 4 KiB, TLS, connections reused", relay, 1, ("--starttls",), "starttls"),
    Row("tls-conn", "relay 4 KiB, TLS connection per message", relay, 0.3,
        ("--starttls", "--per-connection", 1), "starttls"),
    Row("latency", "relay 4 KiB, one at a time", relay, 0.1, sessions=1),
    Row("idle-plain", "idle sessions", idle),
    Row("idle-tls", "idle sessions, TLS", idle, options=("--starttls",), port="starttls"),
    Row("backlog", "backlog: fill, list, restart, drain", backlog, long=True),
)


def calibrate(ctx):
    """How fast the host is at this moment, by three small jobs; it changes on shared machines."""
    sink = tools.Sink(ctx.mailsink, ctx.sink_port)
    try:
        out = tools.source(ctx.mailsource, ctx.sink_port, ["--messages", 3000, "--sessions", 10])
    finally:
        sink.close()
    return {"host_sha": host.sha_speed(), "host_sync": host.sync_speed(ctx.dir),
            "host_smtp": out["rate"]}


def durability(ctx, mta_class):
    """System calls that sync, counted by strace, with one session at a time: a lower bound that
    group commit cannot hide, because nobody else's message can share the sync."""
    report = {}
    for sessions in (1, ctx.sessions):
        mta = mta_class(ctx.settings)
        trace = ctx.dir / f"strace-{mta.name}"
        messages = 100 if sessions == 1 else 400
        try:
            mta.start(ctx.dir / mta.name, hold=True, wrapper=(
                "strace", "-f", "-c", "-S", "calls", "-o", str(trace), "-e",
                "trace=fsync,fdatasync,sync_file_range,msync,syncfs,sync"))
            tools.source(ctx.mailsource, mta.ports["plain"],
                         ["--messages", messages, "--sessions", sessions])
        finally:
            mta.stop()
        calls = {}
        for line in trace.read_text().splitlines():
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3])
        synced = sum(calls.get(x, 0) for x in ("fsync", "fdatasync"))
        report[f"{sessions} session(s)"] = {"messages": messages, "calls": calls,
                                            "syncs_per_message": synced / messages}
    one = report["1 session(s)"]
    report["durable"] = one["syncs_per_message"] >= 1
    return report
