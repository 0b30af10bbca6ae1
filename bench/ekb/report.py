# SPDX-License-Identifier: ISC
"""Medians, ratios, targets, tables and plots from the figures of the runs."""

import dataclasses
import statistics

from . import svg

BASE = "postfix"
OURS = "ekiden"
DISTURBED = 0.1

# -- figures --


def median(runs):
    """Median of each figure over the runs that gave one; of a series, point by point."""
    good = [r for r in runs if "error" not in r]
    out = {}
    for key in good[0] if good else ():
        values = [r[key] for r in good if isinstance(r.get(key), (int, float))]
        if values:
            out[key] = statistics.median(values)
    if good and "points" in good[0]:
        out["points"] = [median(same) for same in zip(*(r["points"] for r in good))]
    return out


def is_disturbed(result):
    return result.get("disturbed", 0) > DISTURBED


def busy(row, name):
    """More than half of a suite's runs did not have the machine to themselves."""
    return 2 * row["disturbed_runs"].get(name, 0) > len(row["runs"].get(name, ()))


def finish_row(row):
    """Adds medians and ratios to a row that has its runs."""
    row["median"] = {name: median(r) for name, r in row["runs"].items()}
    row["disturbed_runs"] = {name: sum(map(is_disturbed, r)) for name, r in row["runs"].items()}
    base = row["median"].get(BASE)
    row["ratio"] = {name: {k: m[k] / base[k] for k in m
                           if k in base and isinstance(m[k], (int, float)) and base[k]}
                    for name, m in row["median"].items() if base and name != BASE}
    return row


def merge(documents):
    """Rows of several results; a later one replaces a suite's runs of the same row."""
    rows = {}
    for doc in documents:
        for r in doc["rows"]:
            old = rows.setdefault(r["name"], {"name": r["name"], "title": r["title"], "runs": {},
                                              "durability": {}})
            old["runs"].update(r["runs"])
            old["durability"].update(r.get("durability", {}))
    return [finish_row(r) for r in rows.values()]


# -- the table --

COLUMNS = (("rate", "/s", "{:.0f}"), ("cpu_ms", "CPU ms", "{:.3f}"), ("txn_p50_ms", "p50 ms", "{:.2f}"),
           ("txn_p99_ms", "p99 ms", "{:.2f}"), ("pss_kb", "PSS KiB", "{:.0f}"),
           ("pss_total_mb", "PSS MiB", "{:.1f}"), ("ceiling", "ceiling/s", "{:.0f}"))
RATIOS = (("rate", "rate"), ("cpu_ms", "CPU"), ("txn_p99_ms", "p99"))
DETAILS = ("pss_kb", "e2e_p50_ms", "e2e_p99_ms", "e2e_max_ms", "singles", "syscalls", "flat", "queued", "settle_s",
           "list_cold_s", "list_warm_s", "disk_bytes", "disk_inodes", "stop_s", "restart_s", "known_s", "drain_s",
           "drain_rate", "drain_cpu_ms", "pss_rest_mb", "host_kb", "processes", "lost", "unknown",
           "duplicates")


def durable_text(row, name):
    got = row.get("durability", {}).get(name)
    if not got:
        return None
    if "error" in got:
        return f"durability: not checked ({got['error']})"
    one, many = got["one"], got["many"]
    return (f"durability: {got['class']} ({one['syncs_per_message']:.2f} syncs a message at 1 "
            f"session, {many['syncs_per_message']:.2f} at {many['sessions']})")


def suite_lines(row, name, m):
    cells = "".join(f"{form.format(m[key]) if key in m else '-':>10}" for key, _, form in COLUMNS)
    ratio = row["ratio"].get(name, {})
    more = "".join(f"{f'x{ratio[k]:.2f}' if k in ratio else '':>8}" for k, _ in RATIOS)
    shaky = row["disturbed_runs"][name]
    note = f"  {shaky} of {len(row['runs'][name])} runs disturbed" if shaky else ""
    yield f"{row['title']:<42}{name:<10}{cells}{more}{note}"
    if durable_text(row, name):
        yield f"{'':<52}{durable_text(row, name)}"
    for p in m.get("points", ()):
        yield (f"{'':<52}at {p['x']:.0f}: {p['rate']:.0f} /s, {p['cpu_ms']:.3f} ms CPU, "
               f"p99 {p['txn_p99_ms']:.2f} ms")
    for key in DETAILS[1:]:  # the first has a column
        if key in m:
            yield f"{'':<52}{key} = {m[key]:.3f}"
    runs = [r for r in row["runs"][name] if "by_process" in r]
    if runs:
        yield from process_lines(runs[-1]["by_process"])


def process_lines(by_process):
    """System calls a message, per program, the five most frequent by name."""
    for role, calls in sorted(by_process.items(), key=lambda x: -sum(x[1].values())):
        top = sorted(calls.items(), key=lambda x: -x[1])[:5]
        if sum(calls.values()) >= 0.005:
            yield (f"{'':<52}{role} {sum(calls.values()):.2f}: "
                   + ", ".join(f"{n} {c:.2f}" for n, c in top if c >= 0.005))


def table(rows):
    head = f"{'row':<42}{'suite':<10}" + "".join(f"{c[1]:>10}" for c in COLUMNS)
    head += "".join(f"{title:>8}" for _, title in RATIOS)
    lines = [head, "-" * len(head)]
    for r in rows:
        for name, m in r["median"].items():
            lines += suite_lines(r, name, m)
    return "\n".join(lines)


SPEEDS = (("host_sha", "SHA-256 {}..{} MB/s"), ("host_sync", "4 KiB append + fdatasync {}..{} /s"))


def speed_note(rows):
    """The host's own speed over the runs; a wide range makes rows of different times incomparable."""
    every = [r for row in rows for runs in row["runs"].values() for r in runs]
    parts = []
    for key, form in SPEEDS:
        values = [r[key] for r in every if key in r]
        if values:
            parts.append(form.format(round(min(values)), round(max(values))))
    return "the host itself meanwhile: " + ", ".join(parts)


# -- targets --

TEN_PERCENT = 1.1 / 0.9  # largest over smallest, when all are within 10 % of the middle


@dataclasses.dataclass(frozen=True)
class Target:
    row: str
    key: str
    limit: float
    least: bool = False  # at least; else at most
    absolute: bool = False  # the figure itself; else its ratio to Postfix
    text: str = ""

    def figure(self, rows):
        """(our figure, Postfix's, what is compared); None when it was not measured."""
        row = rows.get(self.row)
        m = row["median"].get(OURS, {}) if row else {}
        if self.key not in m:
            return None
        base = row["median"].get(BASE, {}).get(self.key)
        if self.absolute:
            return m[self.key], base, m[self.key]
        return (m[self.key], base, m[self.key] / base) if base else None

    def reached(self, value):
        return value >= self.limit if self.least else value <= self.limit


def ratios(row, rate, text, cpu=None):
    out = [Target(row, "rate", rate, True, text=f"{text}, messages/s")]
    return out + ([Target(row, "cpu_ms", cpu, text=f"{text}, CPU a message")] if cpu else [])


TARGETS = (
    *ratios("relay-4k", 15, "relay 4 KiB, 1 recipient", 1 / 15),
    *ratios("relay-4k-10r", 15, "relay 4 KiB, 10 recipients", 1 / 15),
    *ratios("relay-100k", 15, "relay 100 KiB, 1 recipient", 1 / 15),
    *ratios("relay-100k-10r", 15, "relay 100 KiB, 10 recipients", 1 / 15),
    *ratios("accept", 16, "accept only"),
    *ratios("conn", 6, "connection per message"),
    *ratios("tls-reuse", 8, "TLS, connections reused"),
    *ratios("tls-conn", 3, "TLS, connection per message"),
    Target("idle-plain", "pss_kb", 1 / 50, text="memory of an idle session"),
    Target("idle-tls", "pss_kb", 1 / 50, text="memory of an idle TLS session"),
    Target("accept", "txn_p99_ms", 1 / 3, text="p99 to the 250 under full load, accept only"),
    Target("relay-4k", "txn_p99_ms", 1 / 3, text="p99 to the 250 under full load, relaying"),
    Target("sessions", "flat", TEN_PERCENT, absolute=True,
           text="cost a message, 1 to 5,000 sessions, largest/smallest"),
    Target("queue-length", "flat", TEN_PERCENT, absolute=True,
           text="cost a message, empty to full queue, largest/smallest"),
    Target("syscalls-pipe", "syscalls", 12, absolute=True,
           text="system calls a relayed message, pipelining"),
    Target("syscalls", "syscalls", 24, absolute=True,
           text="system calls a relayed message, no pipelining"),
)


def number(x):
    if x is None:
        return "-"
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}" if x >= 1 else f"{x:.2g}"


def target_text(t):
    if t.absolute:
        return f"<= {t.limit:.3g}"
    return f">= {t.limit:.3g}x" if t.least else f"<= 1/{1 / t.limit:.3g}"


def value_text(t, value):
    if t.absolute:
        return f"{value:.3g}"
    return f"{value:.1f}x" if value >= 1 else f"1/{1 / value:.1f}"


def targets_markdown(rows):
    by_name = {r["name"]: r for r in rows}
    yield "| target | aim | Postfix | Ekiden | figure | |"
    yield "|---|---|---|---|---|---|"
    for t in TARGETS:
        got = t.figure(by_name)
        if got is None:
            yield f"| {t.text} | {target_text(t)} | - | - | not measured | |"
            continue
        mark = "reached" if t.reached(got[2]) else "**not reached**"
        if any(busy(by_name[t.row], name) for name in (BASE, OURS)):
            mark += "; machine was busy"
        yield (f"| {t.text} | {target_text(t)} | {number(got[1])} | {number(got[0])} | "
               f"{value_text(t, got[2])} | {mark} |")


def rows_markdown(rows):
    """Every figure, with the durability class and the measurement's own ceiling."""
    yield ("| row | suite | /s | CPU ms | p50 ms | p99 ms | PSS of the suite, MiB | "
           "source to sink /s | sync before 250 | runs (disturbed) |")
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for r in rows:
        for name, m in r["median"].items():
            cells = [number(m.get(k)) for k in ("rate", "cpu_ms", "txn_p50_ms", "txn_p99_ms",
                                                "pss_total_mb", "ceiling")]
            got = r.get("durability", {}).get(name, {})
            sync = (f"{got['class']}; {got['many']['syncs_per_message']:.2f} a message at "
                    f"{got['many']['sessions']} sessions") if "class" in got else "-"
            runs = f"{len(r['runs'][name])} ({r['disturbed_runs'][name]})"
            yield f"| {r['title']} | {name} | {' | '.join(cells)} | {sync} | {runs} |"


def details_markdown(rows):
    yield "| row | suite | further figures |"
    yield "|---|---|---|"
    for r in rows:
        for name, m in r["median"].items():
            more = [f"{k} {number(m[k])}" for k in DETAILS if k in m]
            more += [f"at {p['x']:,.0f}: {p['cpu_ms']:.3f} ms CPU, {p['rate']:,.0f} /s"
                     for p in m.get("points", ())]
            if more:
                yield f"| {r['title']} | {name} | {'; '.join(more)} |"


def host_markdown(documents):
    for doc in documents:
        h = doc["host"]
        versions = ", ".join(f"{k} {v.removeprefix(k).strip()}" for k, v in h["versions"].items())
        yield (f"- {h['time'][:10]}: {h['cpus']} x {h['cpu']}, {h['memory_bytes'] / 2**30:.0f} GiB, "
               f"Linux {h['kernel']}, {h['filesystem']} on {h['device']}; {versions}; "
               f"`{doc['command']}`")


def markdown(documents):
    rows = merge(documents)
    parts = [host_markdown(documents), targets_markdown(rows), rows_markdown(rows),
             details_markdown(rows)]
    return "\n\n".join("\n".join(p) for p in parts) + "\n\n" + speed_note(rows) + "\n"


# -- plots --

PLOTS = (
    ("sessions", "bench-sessions.svg", "CPU time a relayed message costs, by sessions",
     "client sessions, all open and sending"),
    ("queue-length", "bench-queue.svg", "CPU time a relayed message costs, by queue length",
     "messages that wait in the queue"),
)


def plots(rows):
    """(file name, SVG text) of each series that was measured."""
    for r in rows:
        for name, file, title, xlabel in PLOTS:
            lines = {suite: [(p["x"], p["cpu_ms"]) for p in m["points"]]
                     for suite, m in r["median"].items() if m.get("points")}
            if r["name"] == name and lines:
                yield file, svg.chart(title, xlabel, "CPU ms a message, all processes", lines)
