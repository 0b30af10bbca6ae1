#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Milters that others wrote: opendkim signs with a key of its own, opendkim verifies what we sign after the milters'
changes, and one on python3-milter replaces a body: our signature covers what leaves."""
import os
import re
import smtplib
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from suite import *  # noqa: E402,F403

try:
    import dkim
    import Milter  # noqa: F401
except ImportError as e:
    skip_all(f"needs python3-dkim and python3-milter: {e}")

private_network()
zones = {"sender.test": "", "rcpt.test": "@ IN MX 10 mx\nmx IN A 127.0.0.5"}
base = folder()

# opendkim, with its key: as signer, and as verifier of what arrives at the sink.
subprocess.run(["openssl", "genrsa", "-out", f"{base}/od.key", "2048"], check=True, stderr=subprocess.DEVNULL)
os.chmod(f"{base}/od.key", 0o600)
public = subprocess.run(["openssl", "rsa", "-in", f"{base}/od.key", "-pubout", "-outform", "DER"], check=True,
                        capture_output=True).stdout
import base64  # noqa: E402
text = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
record = " ".join(f'"{text[i:i + 200]}"' for i in range(0, len(text), 200))
zones["sender.test"] = f"od._domainkey IN TXT {record}\n"
ns = Nsd(zones)


def opendkim(name, mode):
    sock = f"{base}/{name}.sock"
    with open(f"{base}/{name}.conf", "w") as f:
        f.write(f"Syslog no\nMode {mode}\nSocket local:{sock}\nUserID root\nNameservers 127.0.0.1\nAutoRestart no\n"
                f"Background no\nResolverConfiguration {base}/unbound\nTemporaryDirectory /tmp\nUMask 000\nInternalHosts {base}/hosts\nAlwaysAddARHeader yes\nAuthservID verifier.test\n"
                f"RequireSafeKeys no\n" + ("Domain sender.test\nSelector od\nKeyFile {0}/od.key\n".format(base) if "s" in mode else ""))
    with open(f"{base}/unbound", "w") as f:
        f.write("server:\n do-not-query-localhost: no\n module-config: iterator\n local-zone: test. nodefault\n"
                "forward-zone:\n name: .\n forward-addr: 127.0.0.1\n")
    with open(f"{base}/hosts", "w") as f:
        f.write("127.0.0.0/8\n" if "s" in mode else "192.0.2.1\n")
    proc = Process(["opendkim", "-f", "-x", f"{base}/{name}.conf"], stderr=open(f"{base}/{name}.err", "w"))
    wait_for(lambda: os.path.exists(sock), what="opendkim")
    return sock, proc


signer, _ = opendkim("signer", "s")
verifier, _ = opendkim("verifier", "v")
with open(f"{base}/pm.py", "w") as f:
    f.write('''
import sys, Milter
class M(Milter.Base):
    def eom(self):
        self.addheader("X-Python", "seen")
        self.chgheader("Subject", 1, "changed by python")
        self.replacebody(b"A body by python\\r\\n.with a dot\\r\\n")
        return Milter.CONTINUE
Milter.factory = M
Milter.set_flags(Milter.ADDHDRS + Milter.CHGHDRS + Milter.CHGBODY)
Milter.runmilter("pm", sys.argv[1], 60)
''')
Process([sys.executable, f"{base}/pm.py", f"unix:{base}/pm.sock"])
wait_for(lambda: os.path.exists(f"{base}/pm.sock"), what="python milter")

PORTS = {n: free_port() for n in ("sign", "change", "both")}
USES = {"sign": "signer", "change": "python", "both": "python signer"}
CONF = f"""relayhost [127.0.0.6]:25
dkim {{ publish 1h; }}
milter signer {{ socket unix:{signer}; timeout 10s; }}
milter python {{ socket unix:{base}/pm.sock; timeout 10s; }}
""" + "".join(f"listen {n} {{ address 127.0.0.1:{p}; tls none; auth networks 127.0.0.0/8 tenant acme; reverse-lookup no; "
              f"milters {USES[n]}; }}\n" for n, p in PORTS.items())
sink = Sink("127.0.0.5", 25)
second = Suite(name="second", extra=f"relayhost [127.0.0.5]:25\nreceived full\ndkim {{ sign no; }}\n"
               f"milter verifier {{ socket unix:{verifier}; timeout 10s; }}\n", listeners="""
listen hop { address 127.0.0.6:25; tls none; auth networks 127.0.0.0/8 tenant acme; reverse-lookup no; milters verifier; }
""")
second.tenant()
s = Suite(extra=CONF)
s.tenant()


def send(port, body="Hello\r\n\r\n  blanks  \r\n"):
    n = len(sink.messages)
    with smtplib.SMTP("127.0.0.1", PORTS[port], timeout=30, local_hostname="client.test") as c:
        c.sendmail("a@sender.test", ["b@rcpt.test"], mail(body=body, subject="original").encode())
    sink.wait(n + 1)
    return sink.messages[n]["data"]


def results(data):
    return re.findall(rb"dkim=(\w+) .*?header\.s=([\w.-]+)", data.replace(b"\r\n\t", b" "))


# Without a key of ours, opendkim's signature leaves as it made it.
data = send("sign")
tap.ok(re.search(rb"^DKIM-Signature: .* s=od;", data, re.M), "opendkim signs", data)
tap.equal(results(data), [(b"pass", b"od")], "and its verifier, behind the next hop, is content")

# A key of ours: the signature is made behind the milters and covers what they made.
row = s.mtactl("dkim", "new", "sender.test", "--selector", "own", json_rows=True)[0]
ns.end()
zones["sender.test"] += "own._domainkey IN TXT " + re.search(r"\((.*)\)", row["zone"]).group(1) + "\n"
ns = Nsd(zones)
active = s.mtactl("dkim", "activate", "sender.test", "own", check=False)
tap.equal(active.returncode, 0, "a key of ours is active") or print("# " + active.stdout + active.stderr)
data = send("change")
tap.ok(b"X-Python: seen" in data and b"Subject: changed by python" in data and
       data.endswith(b"\r\n\r\nA body by python\r\n.with a dot\r\n"), "python3-milter changes header and body", data)
tap.equal(results(data), [(b"pass", b"own")], "our signature covers what the milter made: opendkim")


def txt(name, timeout=5):
    out = subprocess.run(["drill", "@127.0.0.1", name.decode(), "TXT"], capture_output=True, text=True).stdout
    line = re.search(r"TXT\t(.*)", out).group(1)
    return "".join(re.findall(r'"([^"]*)"', line)).encode()


tap.ok(dkim.verify(data, dnsfunc=txt), "our signature covers what the milter made: python3-dkim")
data = send("both", body="x" * 70 + "\r\n" + "\r\n" * 5)
tap.equal(results(data), [(b"pass", b"od")], "a milter's signature over another's changes; one that is signed is not signed again")
tap.done()
