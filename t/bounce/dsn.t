#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Reports as another parser sees them: the cases of t/unit/dsn_t.c through Python's email package."""

import email
import email.header
import email.policy
import email.utils
import os
import re
import subprocess
import sys
import tempfile

SRC = os.environ.get("EKIDEN_SRC") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("EKIDEN_BUILD") or os.path.join(SRC, "build")
sys.path.insert(0, os.path.join(SRC, "t", "lib"))
from suite import tap  # noqa: E402

ORIGINAL_LINES = ["Dear Bob,", ".hidden", "--", "Alice"]


class Report:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.raw = f.read()
        self.msg = email.message_from_bytes(self.raw, policy=email.policy.default)
        self.parts = list(self.msg.iter_parts())
        self.groups = email.message_from_bytes(self.raw).get_payload(1).get_payload()

    def text(self):
        return self.parts[0].get_content().replace("\r\n", "\n")

    def rcpts(self):
        return self.groups[1:]

    def diagnostic(self, n=0):
        field = re.sub(r"\r\n\s", " ", self.rcpts()[n]["Diagnostic-Code"])
        return str(email.header.make_header(email.header.decode_header(field)))


def common(name, r):
    m = r.msg
    tap.equal(m.get_content_type(), "multipart/report", f"D10 {name}: outer type")
    tap.equal(m.get_param("report-type"), "delivery-status", f"D10 {name}: report-type")
    tap.equal([len(r.parts), r.parts[0].get_content_type(), r.parts[1].get_content_type()],
              [3, "text/plain", "message/delivery-status"], f"D10 {name}: three parts")
    tap.ok(r.parts[2].get_content_type() in ("message/rfc822", "text/rfc822-headers"),
           f"D18 {name}: third part is {r.parts[2].get_content_type()}")
    tap.equal(m["Auto-Submitted"], "auto-replied", f"D19 atk-H4 {name}: Auto-Submitted")
    tap.equal(sorted(k.lower() for k in m.keys()),
              sorted(["date", "from", "to", "subject", "message-id", "auto-submitted",
                      "mime-version", "content-type"]), f"atk-F7 {name}: just these fields")
    tap.equal(email.utils.parseaddr(str(m["From"]))[1], "MAILER-DAEMON@mta1.example.jp",
              f"{name}: From")
    tap.ok(email.utils.parsedate_to_datetime(m["Date"]), f"{name}: Date")
    defects = [d for p in m.walk() for d in p.defects
               if p not in list(r.parts[2].walk())]
    tap.equal(defects, [], f"{name}: no defects")
    tap.ok(r.text().startswith("This is the mail system at host mta1.example.jp.\n"),
           f"{name}: opening of the text")
    first = r.groups[0]
    tap.equal([first["Reporting-MTA"], first["X-Ekiden-Queue-ID"]],
              ["dns; mta1.example.jp", "B1C2D3F4G5H6J"], f"D12 {name}: per-message fields")
    tap.ok(first["Arrival-Date"] and not first["Action"], f"D11 {name}: first group")
    for g in r.rcpts():
        tap.ok(g["Final-Recipient"] and g["Action"] and g["Status"],
               f"D13 {name}: {g['Final-Recipient']}")
        want = "4" if g["Action"] == "delayed" else "45" if name == "expired" else "5"
        tap.ok(g["Action"] in ("failed", "delayed") and g["Status"][0] in want,
               f"D14 {name}: {g['Action']} with {g['Status']}")
        tap.equal(g["Will-Retry-Until"] is not None, g["Action"] == "delayed",
                  f"D16 {name}: Will-Retry-Until")
    tap.ok(all(b < 0x80 for b in r.raw), f"D17 {name}: 7-bit")


def simple(r):
    m = r.msg
    tap.equal(m["Subject"], "Undelivered Mail Returned to Sender", "simple: subject")
    tap.equal(m["To"], "alice@example.jp", "simple: To")
    g = r.rcpts()[0]
    tap.equal([g["Final-Recipient"], g["Action"], g["Status"], g["Remote-MTA"]],
              ["rfc822; bob@example.net", "failed", "5.1.1", "dns; mx.example.net"],
              "simple: recipient")
    tap.equal(g["Diagnostic-Code"], "smtp; 550 5.1.1 No such user", "D15 simple: remote text")
    tap.equal(r.groups[0]["Original-Envelope-Id"], None, "D12 simple: no envelope id came")
    tap.equal(g["Original-Recipient"], None, "D13 simple: no ORCPT came")
    inner = r.parts[2].get_content()
    tap.equal([r.parts[2].get_content_type(), inner["Subject"]], ["message/rfc822", "hello"],
              "D18 simple: the message comes back")
    tap.equal(inner.get_payload().split("\r\n" if "\r\n" in inner.get_payload() else "\n")[:4],
              ORIGINAL_LINES, "... whole")
    tap.match(r.text(), r"<bob@example\.net>: host mx\.example\.net\[192\.0\.2\.1\] said: 550 5\.1\.1",
              "simple: the reason in words")


def several(r):
    a, b, c, d = r.rcpts()
    tap.equal(r.groups[0]["Original-Envelope-Id"], "QQ314159", "D12 several: envelope id")
    tap.equal(b["Original-Recipient"], "rfc822; Carol+x@Example.ORG", "D13 several: ORCPT")
    tap.equal(b["Diagnostic-Code"], "X-Ekiden; Host or domain name not found",
              "D15 several: our own words are not smtp")
    tap.equal(b["Remote-MTA"], None, "D15 several: and have no remote host")
    tap.equal([c["Original-Recipient"], c["Status"], c["Diagnostic-Code"]],
              ["x400; /c=jp/", "5.0.0", "smtp; 554 no"], "several: no enhanced code came")
    tap.equal([d["Final-Recipient"], d["Original-Recipient"], d["Remote-MTA"], d["Status"]],
              ['rfc822; "e e"@example.com', None, None, "5.2.0"], "several: broken ORCPT left out")


def expired(r):
    a, b = r.rcpts()
    tap.equal([a["Action"], a["Status"], b["Status"]], ["failed", "4.2.2", "4.4.7"],
              "E9 expired: the last temporary status, or 4.4.7")
    tap.equal(b["Diagnostic-Code"], None, "expired: nothing was said")


def delayed(r):
    g = r.rcpts()[0]
    tap.equal([g["Action"], g["Status"]], ["delayed", "4.4.1"], "D14 delayed")
    tap.equal(r.parts[2].get_content_type(), "text/rfc822-headers", "delayed: headers only")
    tap.match(r.msg["Subject"], "^Delayed Mail", "delayed: subject")
    tap.match(r.text(), "warning only", "delayed: a warning")


def headers_only(name, r, subject):
    tap.equal(r.parts[2].get_content_type(), "text/rfc822-headers", f"D18 {name}: headers only")
    body = r.parts[2].get_payload(decode=True).decode("utf-8")
    tap.ok(subject in body and "Dear Bob" not in body and "body" not in body,
           f"D18 {name}: and no more", body[-500:])


def large(r):
    headers_only("large", r, "Subject: hello")
    tap.ok(len(r.raw) < 5000, "atk-H7 large: 50 MiB make a small report")


def fits(r):
    tap.equal(r.parts[2].get_content_type(), "message/rfc822", "fits: up to 50 KB come back whole")


def eight_bit_header(r):
    headers_only("eight-bit-header", r, "Subject: \u3042 = x ")


def utf8_addresses(r):
    g = r.rcpts()[0]
    tap.equal([g["Final-Recipient"], g["Original-Recipient"]],
              ["utf-8; \\x{7530}@example.net"] * 2, "D17 utf8: utf-8-addr-xtext")
    tap.equal(r.msg["To"].addresses, (), "utf8: no address in To")
    tap.equal(r.msg["To"].groups[0].display_name, "\u554f@example.jp", "... but its name")
    tap.match(r.text(), "<\u7530@example.net>", "utf8: readable in the text")


def utf8_text(r):
    want = ("smtp; 550 5.1.1 \u305d\u306e\u5b9b\u5148\u306f\u3042\u308a\u307e\u305b\u3093 = <x> ? "
            "\u5b9b\u5148\u4e0d\u660e")
    tap.equal(r.diagnostic(), want, "utf8-text: encoded words")
    tap.match(r.text(), "\u5b9b\u5148\u4e0d\u660e", "utf8-text: in words")


def latin1_text(r):
    tap.equal(r.rcpts()[0]["Diagnostic-Code"], "smtp; 550 5.1.1 Empf?nger unbekannt", "latin1-text")


def long_text(r):
    lines = r.parts[1].as_bytes().splitlines()
    tap.ok(max(len(line) for line in lines) <= 998, "atk-G1 long-text: no long line")
    tap.match(r.diagnostic(), "ask for$", "long-text: up to the end")


def injection(r):
    g = r.rcpts()
    tap.equal(len(g), 1, "atk-F7 injection: one group")
    tap.equal([g[0]["Action"], g[0]["Status"]], ["failed", "5.1.1"], "atk-F7 injection: one action")
    tap.match(r.diagnostic(), r"=\?utf-8\?Q\?=0D=0AStatus:_2\.0\.0\?=",
              "atk-F7 injection: an encoded word of theirs is shown, not decoded")
    tap.equal(r.msg["To"].addresses[0].addr_spec, '"a\\" b"@example.jp', "injection: To")
    tap.equal(r.msg.get_boundary(), "=_B1C2D3F4G5H6J.6441efc6f6000.2",
              "atk-F12 injection: the boundary avoids what is inside")
    inner = r.parts[2].get_content()
    tap.equal(inner.get_content_type(), "multipart/report", "injection: theirs stays inside")


def odd_sender(r):
    tap.equal(email.message_from_bytes(r.raw)["To"], '"a..b"@docomo.example.jp',
              "P28 odd-sender: quoted")


CHECKS = {
    "simple": simple, "several": several, "expired": expired, "delayed": delayed,
    "ret-hdrs": lambda r: headers_only("ret-hdrs", r, "Subject: hello"),
    "large": large, "fits": fits,
    "header-only": lambda r: tap.equal(r.parts[2].get_content()["Subject"], "x", "header-only"),
    "no-original": lambda r: tap.equal(r.parts[2].get_payload().strip(), "", "no-original"),
    "no-header": lambda r: tap.equal(r.parts[2].get_payload().strip(), "", "no-header"),
    "eight-bit-body": lambda r: headers_only("eight-bit-body", r, "Subject: hello"),
    "eight-bit-header": eight_bit_header, "utf8-addresses": utf8_addresses,
    "utf8-text": utf8_text, "latin1-text": latin1_text, "long-text": long_text,
    "injection": injection, "odd-sender": odd_sender,
    "no-domain": lambda r: tap.equal(r.msg["To"].groups[0].display_name, "alice", "no-domain"),
}

with tempfile.TemporaryDirectory() as folder:
    subprocess.run([os.path.join(BUILD, "t", "unit", "dsn_t"), "--emit", folder], check=True, timeout=30)
    seen = set()
    for file in sorted(os.listdir(folder)):
        case = file.removesuffix(".eml")
        report = Report(os.path.join(folder, file))
        seen.add(case)
        common(case, report)
        CHECKS[case](report)
    tap.equal(seen, set(CHECKS), "every case was written")
tap.done()
