# SPDX-License-Identifier: ISC
"""An authoritative name server (nsd) with the zones of a test on a loopback port."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from drive import skip_all


def free_port():
    """A port that is free for UDP and TCP."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as t, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as u:
            t.bind(("127.0.0.1", 0))
            try:
                u.bind(t.getsockname())
                return t.getsockname()[1]
            except OSError:
                continue
    raise OSError("no free port")


def silent_server():
    """Takes questions and never answers."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    return s


class Nsd:
    def __init__(self, zones):
        if shutil.which("nsd", path=os.environ["PATH"] + ":/usr/sbin") is None:
            skip_all("nsd is not installed")
        self.dir = tempfile.mkdtemp(prefix="ekiden-nsd-")
        self.port = free_port()
        zone_lines = ""
        for i, (name, text) in enumerate(zones.items()):
            path = os.path.join(self.dir, f"zone{i}")
            with open(path, "w") as f:
                f.write(text)
            zone_lines += f"zone:\n  name: {name}\n  zonefile: {path}\n"
        conf = os.path.join(self.dir, "nsd.conf")
        with open(conf, "w") as f:
            f.write(f"""server:
  ip-address: 127.0.0.1@{self.port}
  username: ""
  chroot: ""
  zonesdir: "{self.dir}"
  database: ""
  pidfile: "{self.dir}/pid"
  xfrdfile: "{self.dir}/xfrd"
  zonelistfile: "{self.dir}/list"
  logfile: "{self.dir}/log"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{zone_lines}""")
        self.proc = subprocess.Popen(["/usr/sbin/nsd", "-d", "-c", conf], cwd=self.dir,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                     start_new_session=True)
        atexit.register(self.stop)
        self.wait(next(iter(zones)))

    def wait(self, zone):
        query = b"\0\1\0\0\0\1\0\0\0\0\0\0" + b"".join(
            bytes([len(x)]) + x.encode() for x in zone.split(".")) + b"\0\0\6\0\1"
        end = time.monotonic() + 15
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            while time.monotonic() < end:
                try:
                    s.sendto(query, ("127.0.0.1", self.port))
                    if s.recv(4096)[3] & 15 == 0:
                        return
                except OSError:
                    time.sleep(0.05)
        with open(os.path.join(self.dir, "log")) as f:
            raise OSError("nsd does not start: " + f.read())

    def stop(self):
        if self.proc.poll() is None:
            os.killpg(self.proc.pid, signal.SIGTERM)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.proc.pid, signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)
