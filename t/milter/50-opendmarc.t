#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""opendmarc as a milter over IPv6: what it finds out about the header From is in the message, or refuses it."""
import os
import shutil
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

if not shutil.which("opendmarc"):
    skip_all("needs opendmarc")
need_root()
# A mount namespace as well: it asks the resolver of /etc/resolv.conf, which is to be ours.
if os.environ.get("EKIDEN_TEST_NETNS") != "1":
    os.environ["EKIDEN_TEST_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "-nm", "--propagation", "private", sys.executable] + sys.argv)
private_network()
base = folder()
with open(f"{base}/resolv.conf", "w") as f:
    f.write("nameserver 127.0.0.1\n")
subprocess.run(["mount", "--bind", f"{base}/resolv.conf", os.path.realpath("/etc/resolv.conf")], check=True)

POLICY = '_dmarc IN TXT "v=DMARC1; p={}"'
ns = Nsd({"good.test": POLICY.format("reject"), "forged.test": POLICY.format("reject"),
          "lenient.test": POLICY.format("none")})
port, milter = free_port(), free_port()
with open(f"{base}/hosts", "w") as f:
    f.write("192.0.2.77\n")
with open(f"{base}/dmarc.conf", "w") as f:
    f.write(f"AuthservID mta.test\nTrustedAuthservIDs mta.test\nRejectFailures true\n"
            f"IgnoreHosts {base}/hosts\nSocket inet6:{milter}@[::1]\nSoftwareHeader true\n"
            f"PublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat\nSyslog false\nUserID root\n")
proc = Process(["opendmarc", "-f", "-c", f"{base}/dmarc.conf"], stderr=open(f"{base}/dmarc.err", "w"))


def listening():
    with socket.socket(socket.AF_INET6) as c:
        return c.connect_ex(("::1", milter)) == 0


wait_for(listening, what="opendmarc")
s = Suite(listeners=f"listen net {{ address 127.0.0.1:{port}; tls none; auth networks 127.0.0.0/8 tenant acme; "
          "reverse-lookup no; milters dmarc; }\n",
          extra=f"relayhost [127.0.0.5]:25\nmilter dmarc {{ socket inet:[::1]:{milter}; timeout 10s; }}\n")
sink = Sink("127.0.0.5", 25)
s.tenant()
for d in ("good", "forged", "lenient"):
    s.mtactl("domain", "add", "acme", f"{d}.test", "--verified")


def send(domain, dkim):
    """With the word of a filter before this one about its signature."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30, local_hostname="client.test") as c:
        c.ehlo()
        c.mail(f"a@{domain}")
        c.rcpt("b@rcpt.test")
        code, text = c.data(mail(sender=f"a@{domain}", extra=f"Authentication-Results: mta.test; dkim={dkim} "
                                 f"header.d={domain}\r\n").encode())
        return code, text.decode()


code, text = send("good.test", "pass")
tap.ok(code == 250 and sink.wait(1) is not False, "a message with a signature of its domain", text)
tap.match(sink.messages[0]["data"].decode(), r"(?m)^Authentication-Results: mta\.test; dmarc=pass .*header\.from=good\.test",
          "and what was found out is in it")
code, text = send("forged.test", "fail")
tap.ok(code == 550 and "rejected by DMARC policy for forged.test" in text, "one that is forged is refused, in its words",
       (code, text))
code, text = send("lenient.test", "fail")
sink.wait(2)
tap.ok(code == 250 and "dmarc=fail" in sink.messages[-1]["data"].decode(), "where the policy is none it says so", text)
tap.equal(len(sink.messages), 2, "nothing else left")

s.stop()
tap.done()
