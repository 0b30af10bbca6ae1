# SPDX-License-Identifier: ISC
"""The rows of the table: what is done to one freshly started suite, and what is read off it."""

import dataclasses
import os
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
    options: tuple = ()  # of mailsource
    port: str = "plain"
    recipients: int = 1
    sessions: int = 0  # 0: --sessions
    sink: tuple = ()  # options of mailsink
    long: bool = False  # only with --long, or when it is named
    hold: bool = False
    messages: bool = True  # messages are accepted: each 250 is checked for its sync


class Meter:
    """Clock, CPU of the suite, of kernel threads and of the whole machine, until stop()."""

    def __init__(self, mta):
        self.mta = mta
        self.profile = None
        if mta.settings.profile:
            self.profile = tools.Profile(mta.settings.profile, mta.pids())
        self.first = self.read()

    def read(self):
        busy, stolen = host.busy_seconds()
        return {"seconds": host.monotonic(), "cpu": self.mta.cpu_seconds(), "busy": busy,
                "stolen": stolen, "kernel": host.kernel_thread_seconds(),
                "own": time.process_time()}

    def stop(self):
        now = self.read()
        if self.profile:
            self.profile.close()
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


def is_idle(mta, window=0.25):
    """The suite has used next to no CPU for a moment."""
    before = mta.cpu_seconds()
    time.sleep(window)
    return mta.cpu_seconds() - before < 0.02 * window


def settle(mta):
    """Nothing is left over from the warm-up: no mail, no work of the suite's own, no dirty pages."""
    wait_until(mta.queue_empty, 20)
    wait_until(lambda: is_idle(mta), 20, 0)
    host.sync_fs(mta.dir)


def source_options(ctx, row, messages):
    sessions = row.sessions or ctx.sessions
    return ["--messages", messages, "--sessions", min(sessions, messages), "--recipients",
            row.recipients, *row.options]


def latencies(out):
    lat = out["latency_us"]
    return {f"{short}_{q}_ms": lat[name][q] / 1000
            for short, name in (("banner", "banner"), ("txn", "transaction"), ("eod", "end_of_data"))
            for q in ("p50", "p99")}


def end_to_end(stats):
    """What a sink with --track has seen."""
    e2e = stats["end_to_end"]
    return {f"e2e_{q}_ms": e2e[q] / 1000 for q in ("p50", "p99", "max")} if e2e["n"] else {}


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
            "stolen_s": meter.stolen, "window_s": meter.seconds, **latencies(out),
            "pss_total_mb": host.pss_bytes(meter.mta.pids()) / KIB / KIB}


def accept(ctx, row, mta):
    """Reception alone: the rate is the client's, until the last 250."""
    messages = ctx.count(row, mta.name)
    port = mta.ports[row.port]
    tools.source(ctx.mailsource, port, source_options(ctx, row, ctx.warmup(row)))
    wait_until(lambda: is_idle(mta), 20, 0)
    host.sync_fs(mta.dir)
    meter = Meter(mta)
    out = tools.source(ctx.mailsource, port, source_options(ctx, row, messages))
    meter.stop()
    return figures(messages, out["seconds"], meter, out, 0.0)


class Ledger:
    """--verify: the sink's line for each message against what the clients were told."""

    def __init__(self, ctx, mta):
        self.path = ctx.dir / f"sink-{mta.name}.log" if ctx.verify else None
        if self.path:
            self.path.unlink(missing_ok=True)

    def options(self):
        return ["--log", self.path] if self.path else []

    def check(self, recipients, *outs):
        """outs: the accepted runs.  Counts of what is missing, doubled, unknown or altered."""
        if self.path is None:
            return {}
        want = {(f"<{n:010d}.{out['run_id']}@mailsource.invalid>",
                 f"rcpt{n * recipients + i:010d}@mailsink.invalid")
                for out in outs for n in range(out["accepted"]) for i in range(recipients)}
        got, bodies = {}, set()
        for line in self.path.read_text().splitlines():
            f = dict(word.split("=", 1) for word in line.split())
            bodies.add(f["body-sha256"])
            for rcpt in f["rcpts"].split(","):
                got[f["message-id"], rcpt] = got.get((f["message-id"], rcpt), 0) + 1
        return {"lost": len(want - got.keys()), "unknown": len(got.keys() - want),
                "duplicates": sum(got.values()) - len(got), "bodies": len(bodies)}


def relay(ctx, row, mta):
    """From the first connection of the client to the last delivery at the sink."""
    messages, warmup = ctx.count(row, mta.name), ctx.warmup(row)
    port, ledger = mta.ports[row.port], Ledger(ctx, mta)
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers, [*row.sink, *ledger.options()])
    try:
        warm = tools.source(ctx.mailsource, port, source_options(ctx, row, warmup))
        before = sink.wait_recipients(warmup * row.recipients, 120)
        settle(mta)
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
    got["deliveries"] = after["recipients"] - before["recipients"]
    return {**got, **end_to_end(after), **ledger.check(row.recipients, warm, out)}


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
            "pss_kb": (after - pss) / count / KIB, "pss_rest_mb": pss / KIB / KIB,
            "pss_total_mb": after / KIB / KIB, "host_kb": (available - available_after) / count / KIB,
            "processes": len(pids), "disturbed": disturbed(meter, sessions.cpu_s),
            "stolen_s": meter.stolen, "window_s": meter.seconds}


SINGLES = ("--messages", 1000000, "--sessions", 4, "--interval", 80,
           "--from", "one@single.invalid", "--to", "single%d@mailsink.invalid")


def fairness(ctx, row, mta):
    """A flood of one sender, and another sender's single messages from its first to its last
    delivery.  The sink answers late, as real hosts do, so that the flood stands in the queue."""
    flood, warmup = ctx.count(row, mta.name), ctx.warmup(row)
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers, row.sink)
    singles = None

    def bulk(stats):
        return stats["recipients"] - stats["end_to_end"]["n"]

    try:
        tools.source(ctx.mailsource, mta.ports["plain"], source_options(ctx, row, warmup))
        sink.wait_recipients(warmup, 120)
        settle(mta)
        meter = Meter(mta)
        singles = tools.Background(ctx.mailsource, mta.ports["other"], SINGLES)
        out = tools.source(ctx.mailsource, mta.ports["plain"], source_options(ctx, row, flood))
        during = sink.wait_recipients(warmup + flood, 600, of=bulk)
        one = singles.finish()
        after = sink.wait_recipients(warmup + flood + one["accepted"], 60)
        meter.stop()
    finally:
        if singles:
            singles.close()
        sink.close()
    got = figures(flood, during["last_message"] - out["t_first"], meter, out, after["cpu"])
    return {**got, **end_to_end(after), **latencies(one), "singles": one["accepted"]}


def calibrate(ctx, row):
    """How fast the host is at this moment, by three small jobs; it changes on shared machines.
    The third, the row's own messages straight from source to sink, is the row's ceiling."""
    count = max(50, int(min(3000, ctx.messages) * row.share))
    tls = ["--starttls", "--cert", ctx.settings.cert, "--key", ctx.settings.key]
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers,
                      tls if "--starttls" in row.options else ())
    try:
        out = tools.source(ctx.mailsource, ctx.sink_port, source_options(ctx, row, count))
    finally:
        sink.close()
    return {"host_sha": host.sha_speed(), "host_sync": host.sync_speed(ctx.dir),
            "ceiling": out["rate"]}
