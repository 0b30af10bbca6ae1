# SPDX-License-Identifier: ISC
"""Servers that misbehave in one way at one step of the dialogue, and cases that run side by side."""

from rig import *  # noqa: F403

# Reply of a good server at each step; None: there is none to give.
GOOD = {"GREETING": "220", "EHLO": "250", "STARTTLS": "220", "EHLO2": "250", "AUTH": "235", "MAIL": "250",
        "RCPT": "250", "DATA": "354", "EOD": "250", "RSET": "250", "QUIT": "221", "IDLE": None}
NEXT = {"GREETING": "250", "EHLO": "250", "STARTTLS": "250", "EHLO2": "250", "AUTH": "250", "MAIL": "250",
        "RCPT": "250", "DATA": "250", "EOD": "250", "RSET": "250", "QUIT": "250", "IDLE": "250"}
FLOOD_MAX = 64 << 20


class Evil(Sink):
    """`act(self, peer, step, good)` takes the place of the reply `good` (bytes) at `step`."""

    def __init__(self, step, act, ehlo=("8BITMIME",), context=None, tls_ehlo=None):
        super().__init__(ehlo, {"AUTH": "235 2.7.0 ok", "RCPT": self.rcpt}, context, tls_ehlo)
        self.step, self.act = step, act

    def __call__(self, peer):
        try:
            super().__call__(peer)
        except ssl.SSLError:  # the client does not go on with the handshake
            pass

    @staticmethod
    def rcpt(peer, line):
        return "550 5.1.1 no" if line.startswith("RCPT TO:<no") else None

    def answer(self, verb, peer, line, default, message=None):
        step = "EHLO2" if verb == "EHLO" and peer.tls else verb
        if step == self.step and peer.number == 0:
            reply = self.pick(verb, peer, line, default)
            lines = reply if isinstance(reply, tuple) else (reply,)
            if message is not None and getattr(self.act, "takes", False):
                peer.messages.append(message)
                message = None
            said = self.act(peer, step, b"".join(x.encode() + b"\r\n" for x in lines))
            if message is not None and said.startswith(b"2"):
                peer.messages.append(message)
            return said.decode("latin-1")
        said = super().answer(verb, peer, line, default, message)
        if self.step == "IDLE" and verb == "EOD":
            time.sleep(0.2)
            self.act(peer, "IDLE", b"")
        return said


def say(text):
    """A reply whose first three digits are those of a good one when it has none."""
    def act(peer, step, good):
        data = text if isinstance(text, bytes) else text.replace("<good>", GOOD[step] or "250").encode()
        peer.raw(data)
        return data
    return act


def split(peer, step, good):
    for b in good:
        peer.raw(bytes([b]))
        time.sleep(0.002)
    return good


def early(peer, step, good):
    """The reply, and with it the one to the command that comes next."""
    peer.raw(good + NEXT[step].encode() + b" 2.0.0 early\r\n")
    return good


def flood(start, piece):
    def act(peer, step, good):
        peer.raw(start.replace(b"<good>", (GOOD[step] or "250").encode()))
        block, sent = piece.replace(b"<good>", (GOOD[step] or "250").encode()) * 64, 0
        while sent < FLOOD_MAX:
            peer.raw(block)
            sent += len(block)
        return b"the client takes everything"
    return act


def reset(peer, step, good):
    peer.reset()
    raise Gone


def half_close(peer, step, good):
    peer.sock.shutdown(socket.SHUT_WR)
    while True:
        peer._fill()


def silence(peer, step, good):
    while True:
        peer._fill()


def then(behind):
    """A good reply, and something behind it."""
    def both(peer, step, good):
        peer.raw(good)
        behind(peer, step, good)
        return good
    both.takes = True
    return both


def only(text):
    """The beginning of a reply."""
    def act(peer, step, good):
        say(text)(peer, step, good)
        silence(peer, step, good)
    return act


class Case:
    """One message, or two, on a connection to one server; what qmgr hears of it."""

    def __init__(self, d, name, script, tls=TLS_NONE, rcpts=("a@t", "b@t"), second=None, **kw):
        self.d, self.name, self.server = d, name, Server(script)
        self.conn = d.open(port=self.server.port, tls=tls, **kw)
        self.jobs = [d.deliver(self.conn, [r.replace("@t", f"@c{self.conn}.t") for r in rcpts])]
        if second:
            self.jobs.append(d.deliver(self.conn, [r.replace("@t", f"@c{self.conn}.t") for r in second]))
        self.results = {j: [] for j in self.jobs}
        self.closed, self.ends = None, {j: 0 for j in self.jobs}

    def take(self, event):
        m = event["m"]
        if event["msg"] == "job_done":
            self.results[m["job"]] += m["results"]
            self.ends[m["job"]] += not m["more"]
        elif event["msg"] == "conn_closed":
            self.closed = [m] if self.closed is None else self.closed + [m]

    def settled(self):
        return self.closed is not None or all(self.ends[j] for j in self.jobs)

    def outcome(self, job=None):
        """"S 2.0.0" per recipient of a job, "F 4.4.2" of a failed connection, "U" of a job not tried."""
        job = job or self.jobs[-1]
        if self.results[job]:
            return [f"{'?SDBAX'[r['status']]} {esc_words(r['esc'])}" for r in
                    sorted(self.results[job], key=lambda r: r["index"])]
        if self.closed and self.closed[0]["why"] == CONN_FAILED:
            return [f"F {esc_words(self.closed[0]['esc'])}"]
        return ["U"] if self.closed else ["nothing"]


def esc_words(e):
    return f"{e >> 20}.{e >> 10 & 1023}.{e & 1023}"


def collect(d, cases, seconds=30):
    """Runs until every case is settled, then ends the connections and waits for their ends."""
    by_conn = {c.conn: c for c in cases}
    asked, end = set(), time.monotonic() + seconds
    while time.monotonic() < end and d.exit is None:
        with d.cond:
            mine = [e for e in d.got if e["m"].get("conn") in by_conn]
            d.got[:] = [e for e in d.got if e["m"].get("conn") not in by_conn]
            if not mine:
                d.cond.wait(0.1)
        for e in mine:
            by_conn[e["m"]["conn"]].take(e)
        for c in cases:
            if c.settled() and c.conn not in asked and c.closed is None:
                asked.add(c.conn)
                if c.server.script.step != "IDLE":
                    d.send("qmgr", "conn_close", conn=c.conn)
        if all(c.closed is not None for c in cases):
            break
    for c in cases:
        c.server.stop()


def fits(outcome, wanted):
    """`wanted`: alternatives separated by "|"; each is a letter with or without a code."""
    def one(have, want):
        return have == want or (len(want) == 1 and have[0] == want)
    return any(all(one(h, w) for h in outcome) for w in wanted.split("|"))


def once(case, jobs):
    """No result is lost or doubled: one end and one status for each recipient of a job that was told of."""
    for j in jobs:
        indexes = [r["index"] for r in case.results[j]]
        if case.ends[j] > 1 or len(set(indexes)) != len(indexes):
            return f"job {j}: {case.ends[j]} ends, results {indexes}"
        if case.ends[j] != bool(indexes):
            return f"job {j}: {case.ends[j]} ends, results {indexes}"
    if case.closed is None or len(case.closed) != 1:
        return f"ends of the connection: {case.closed}"
    return None
