# SPDX-License-Identifier: ISC
"""Rows that measure one thing at several places: cost against sessions, against the queue; a backlog."""

import subprocess

from . import host, rows, tools

SESSIONS = (1, 10, 50, 200, 1000, 5000)
LENGTHS = (0, 1000, 10000, 100000, 1000000)
LATER = "later%d@mailsink.invalid"


def flatness(points):
    """Largest cost over smallest: 1.22 is what +-10 % around the middle would be."""
    costs = [p["cpu_ms"] for p in points]
    return {"points": points, "cpu_ms": costs[-1], "rate": points[-1]["rate"],
            "disturbed": max(p["disturbed"] for p in points),
            "cpu_min_ms": min(costs), "cpu_max_ms": max(costs), "flat": max(costs) / min(costs)}


def sessions_point(ctx, row, mta, sink, count):
    """All sessions stand before the clock starts and until it has stopped."""
    messages = max(ctx.count(row, mta.name), 4 * count)
    before = sink.ask()
    source = tools.Gathered(ctx.mailsource, mta.ports[row.port],
                            ["--messages", messages, "--sessions", count])
    try:
        host.sync_fs(mta.dir)
        meter = rows.Meter(mta)
        out = source.run()
        after = sink.wait_recipients(before["recipients"] + messages, 600)
        emptied = rows.wait_until(mta.queue_empty, 20)
        meter.stop()
        got = rows.figures(messages, after["last_message"] - out["t_first"], meter, out,
                           after["cpu"] - before["cpu"])
    finally:
        source.close()
    return {"x": count, "queue_emptied": emptied, **got}


def sessions(ctx, row, mta):
    """Cost of a message against the number of sessions that are open and sending."""
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers)
    limit = min(mta.session_limit, ctx.sessions_max)
    try:
        warmup = ctx.warmup(row)
        tools.source(ctx.mailsource, mta.ports[row.port], rows.source_options(ctx, row, warmup))
        sink.wait_recipients(warmup, 120)
        rows.settle(mta)
        return flatness([sessions_point(ctx, row, mta, sink, n) for n in SESSIONS if n <= limit])
    finally:
        sink.close()


def queue_point(ctx, row, mta, sink, length):
    messages = ctx.count(row, mta.name)
    before = sink.ask()
    host.sync_fs(mta.dir)
    meter = rows.Meter(mta)
    out = tools.source(ctx.mailsource, mta.ports[row.port],
                       rows.source_options(ctx, row, messages))
    after = sink.wait_recipients(before["recipients"] + messages, 600)
    rows.wait_until(mta.queue_settled, 60)
    meter.stop()
    got = rows.figures(messages, after["last_message"] - out["t_first"], meter, out,
                       after["cpu"] - before["cpu"])
    return {"x": length, **got}


def queue_length(ctx, row, mta):
    """Cost of a message that is relayed at once, against the number of messages that wait."""
    limit, length, points = min(mta.queue_limit, ctx.queue), 0, []
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers, row.sink)
    try:
        warmup = ctx.warmup(row)
        tools.source(ctx.mailsource, mta.ports[row.port], rows.source_options(ctx, row, warmup))
        sink.wait_recipients(warmup, 120)
        for wanted in sorted({n for n in LENGTHS if n < limit} | {limit}):
            if wanted > length:
                fill = wanted - length
                tools.source(ctx.mailsource, mta.ports[row.port], [
                    *rows.source_options(ctx, row, fill), "--to", LATER], 3600)
                if not rows.wait_until(mta.queue_settled, 1800, 0.5):
                    raise TimeoutError(f"{wanted} messages are not all deferred")
                length = wanted
            points.append(queue_point(ctx, row, mta, sink, length))
    finally:
        sink.close()
    return {**flatness(points), "queued": length}


def timed(argv):
    begin = host.monotonic()
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                       timeout=1200)
    return host.monotonic() - begin, p.stdout.count(b"\n"), p.returncode


def lists(mta, count):
    """Time to list the whole queue, first with nothing of it in the page cache."""
    host.drop_caches()
    cold = timed(mta.queue_list())
    warm = timed(mta.queue_list())
    if cold[1] < count or warm[1] < count:
        raise ValueError(f"a list of {count} messages has {min(cold[1], warm[1])} lines")
    return {"list_cold_s": cold[0], "list_warm_s": warm[0], "list_lines": warm[1],
            "list_status": warm[2]}


def drain(ctx, mta, count):
    sink = tools.Sink(ctx.mailsink, ctx.sink_port, ctx.sink_workers)
    try:
        meter, begin = rows.Meter(mta), host.monotonic()
        status = timed(mta.queue_flush())[2]
        after = sink.wait_recipients(count, 3600, 0.5)
        seconds = after["last_message"] - begin
        rows.wait_until(mta.queue_empty, 60)
        return {"flush_status": status, "drain_s": seconds, "drain_rate": count / seconds,
                "drain_cpu_ms": meter.stop().cpu * 1000 / count, "drained": after["recipients"]}
    finally:
        sink.close()


def backlog(ctx, row, mta):
    """The destination is down (nobody listens), the queue fills; then list, restart, drain."""
    count, got = ctx.backlog, {}
    rows.wait_until(lambda: rows.is_idle(mta), 20, 0)
    empty_bytes, empty_inodes = host.tree_usage(mta.queue_folder())
    meter = rows.Meter(mta)
    out = tools.source(ctx.mailsource, mta.ports[row.port],
                       rows.source_options(ctx, row, count), 3600)
    got.update(messages=count, rate=out["rate"], **rows.latencies(out))
    begin = host.monotonic()
    got["settled"] = rows.wait_until(mta.queue_settled, 1800, 1)
    got["settle_s"] = host.monotonic() - begin
    got["cpu_ms"] = meter.stop().cpu * 1000 / count
    got["disturbed"] = rows.disturbed(meter, out["cpu_user"] + out["cpu_sys"])
    got["pss_total_mb"] = host.pss_bytes(mta.pids()) / rows.KIB / rows.KIB
    host.sync_fs(mta.dir)
    full_bytes, full_inodes = host.tree_usage(mta.queue_folder())
    got["disk_bytes"] = (full_bytes - empty_bytes) / count
    got["disk_inodes"] = (full_inodes - empty_inodes) / count
    got.update(lists(mta, count))
    begin = host.monotonic()
    mta.stop()
    got["stop_s"] = host.monotonic() - begin
    begin = host.monotonic()
    got["restart_s"] = mta.restart()
    rows.wait_until(lambda: mta.queue_known(count), 300, 0.01)
    got["known_s"] = host.monotonic() - begin
    return {**got, **drain(ctx, mta, count)}
