# SPDX-License-Identifier: ISC
"""What an SMTP server must answer, as the RFCs and our requirements have it: a reference state machine.

It knows nothing of smtpd's tables: a state is what a client can know of it (greeted or not, TLS, a log-in, a
transaction), and each command is one method that returns the codes of its replies and moves the state.
"""

import base64

GOOD = base64.b64encode(b"\0app\0good").decode()
VIP = base64.b64encode(b"\0vip\0good").decode()  # may schedule its mail, and give it a priority
WRONG = base64.b64encode(b"\0app\0wrong").decode()
FAILURES = 5  # log-ins that fail, then 421


class Rules:
    """What a listener is for. tls: none, may or first. key: no, must, or relay (without one, no relaying)."""

    def __init__(self, tls, key):
        self.tls, self.key = tls, key


LISTENERS = {"net": Rules("none", "no"), "key": Rules("none", "must"), "mx": Rules("may", "relay"),
             "submission": Rules("first", "must"), "smtps": Rules("implicit", "must")}


class Model:
    """One session. `closed` when the server has ended it; `messages`: how many were accepted."""

    def __init__(self, rules):
        self.rules = rules
        self.tls = rules.tls == "implicit"
        self.authed = self.vip = self.closed = False
        self.greeted = False      # EHLO or HELO was given
        self.esmtp = False
        self.sender = False       # a transaction is open
        self.rcpts = self.messages = self.failures = 0
        self.authd = True         # the judge of keys and senders is there

    def drop(self):
        self.sender, self.rcpts = False, 0

    def end(self, *codes):
        self.closed = True
        self.drop()
        return list(codes)

    def step(self, line):
        verb, _, arg = line.partition(" ")
        method = getattr(self, "do_" + verb.lower(), None)
        if verb == "GET":
            return self.end()
        if verb == "BDAT":
            return self.end(502)
        if verb in ("EXPN", "ETRN", "TURN"):
            return [502]
        if method is None:
            return [500]
        if self.rules.tls == "first" and not self.tls and verb not in ("EHLO", "HELO", "STARTTLS", "RSET", "NOOP", "QUIT"):
            return [530]
        return method(arg)

    def hello(self, arg, esmtp):
        if not arg:
            return [501]
        self.greeted, self.esmtp = True, esmtp
        self.drop()
        return [250]

    def do_ehlo(self, arg):
        return self.hello(arg, True)

    def do_helo(self, arg):
        return self.hello(arg, False)

    def do_noop(self, arg):
        return [250]

    def do_help(self, arg):
        return [214]

    def do_vrfy(self, arg):
        return [252] if arg else [501]

    def do_rset(self, arg):
        if arg:
            return [501]
        self.drop()
        return [250]

    def do_quit(self, arg):
        return [501] if arg else self.end(221)

    def do_starttls(self, arg):
        if self.sender:
            return [503]
        if arg:
            return [501]
        if self.rules.tls in ("may", "first") and not self.tls:
            self.tls, self.greeted, self.authed = True, False, False
            self.drop()
            return [220]
        return [503] if self.tls else [502]

    def may_auth(self):
        return self.rules.key != "no" and (self.tls or self.rules.tls == "none")

    def do_auth(self, arg):
        if not self.greeted or self.sender:
            return [503]
        if not arg:
            return [501]
        if self.authed:
            return [503]
        if not self.may_auth():
            return [538] if self.rules.tls == "may" else [503]
        if arg == "CANCEL":
            return [334, 501]
        if arg in ("LOGIN good", "LOGIN wrong"):
            return [334, 334] + self.judge(arg.endswith("good"))
        if arg.startswith("PLAIN "):
            if arg == "PLAIN !!":
                return [501]
            return self.judge(arg in ("PLAIN " + GOOD, "PLAIN " + VIP), arg == "PLAIN " + VIP)
        return [504]

    def judge(self, good, vip=False):
        if not self.authd:
            return [454]
        if good:
            self.authed, self.vip = True, vip
            return [235]
        self.failures += 1
        return self.end(421) if self.failures >= FAILURES else [535]

    def do_mail(self, arg):
        if not self.greeted or self.sender:
            return [503]
        if not arg:
            return [501]
        if self.rules.key == "must" and not self.authed:
            return [530]
        path, _, params = arg.removeprefix("FROM:").partition(" ")
        if not arg.startswith("FROM:") or not path.endswith(">"):
            return [501]
        if params and (not self.esmtp or params == "X=Y" or (params == "AUTH=<>" and not self.may_auth())):
            return [555]
        name, _, value = params.partition("=")
        if name == "HOLDFOR" and not self.vip or name == "MT-PRIORITY" and not self.authed:
            return [555]
        if value in ("0", "10"):
            return [501]
        if params == "SIZE=99999999999":
            return [552]
        if self.rules.key == "relay" and not self.authed:
            self.sender = True  # for whom is RCPT's matter
            return [250]
        if not self.authd:
            return [451]
        if "refused" in path or path == "<>":
            return [550]
        self.sender = True
        return [250]

    def do_rcpt(self, arg):
        if not self.sender:
            return [503]
        if not arg.startswith("TO:") or not arg.endswith(">"):
            return [555] if arg.endswith("NOTIFY=NEVER") else [501]
        if self.rules.key == "relay" and not self.authed:  # for hosted domains, which authd knows
            return [451] if "." in arg and not self.authd else [554]
        if "@" in arg and "." not in arg:
            return [504]
        self.rcpts += 1
        return [250]

    def do_data(self, arg):
        if not self.rcpts:
            return [503]
        if arg not in ("good", "bad"):
            return [501]
        self.messages += arg == "good"
        self.drop()
        return [354, 250 if arg == "good" else 500]
