# SPDX-License-Identifier: ISC
"""mailsource and mailsink as objects."""

import json
import signal
import subprocess
import threading
import time

from . import host

SOURCE_TIMEOUT = 600


class Sink:
    """mailsink on a fixed port; its counters are asked for with SIGUSR1."""

    def __init__(self, binary, port, workers=1):
        self.proc = subprocess.Popen(
            [str(binary), "--listen", f"127.0.0.1:{port}", "--workers", str(workers), "--json"],
            stdout=subprocess.PIPE, text=True)
        self.changed = threading.Condition()
        self.stats, self.answers, self.ready = {}, 0, False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        with self.changed:
            if not self.changed.wait_for(lambda: self.ready, 10):
                self.close()
                raise RuntimeError("mailsink did not start")

    def _read(self):
        for line in self.proc.stdout:
            with self.changed:
                if line.startswith("listening"):
                    self.ready = True
                else:
                    self.stats = json.loads(line)
                    self.answers += 1
                self.changed.notify_all()

    def ask(self):
        with self.changed:
            before = self.answers
            self.proc.send_signal(signal.SIGUSR1)
            if not self.changed.wait_for(lambda: self.answers > before, 10):
                raise RuntimeError("mailsink does not answer")
            return dict(self.stats)

    def wait_recipients(self, count, seconds, tick=0.1):
        """Waits until so many recipients have arrived; gives up when nothing moves any more."""
        end, last, moved = host.monotonic() + seconds, -1, host.monotonic()
        while True:
            stats = self.ask()
            now = host.monotonic()
            if stats["recipients"] >= count:
                return stats
            if stats["recipients"] != last:
                last, moved = stats["recipients"], now
            if now > end or now - moved > 60:
                raise TimeoutError(f"the sink has {last} of {count} recipients, and waits no longer")
            time.sleep(tick)

    def close(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        self.proc.wait()
        self.reader.join(5)
        self.proc.stdout.close()


def source(binary, port, options, timeout=SOURCE_TIMEOUT):
    """One run of mailsource; its JSON."""
    argv = [str(binary), "--target", f"127.0.0.1:{port}", "--timeout", str(timeout), "--json"]
    argv += [str(x) for x in options]
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=timeout + 30, check=False)
    if not p.stdout.startswith("{"):
        raise RuntimeError(f"mailsource: {p.stdout}{p.stderr}")
    out = json.loads(p.stdout)
    if p.returncode != 0:
        raise RuntimeError(f"mailsource: {out['failed']} of {out['messages']} messages failed: "
                           f"{out['errors']} {p.stderr}")
    return out


class Idle:
    """mailsource --idle: sessions that stand until close()."""

    def __init__(self, binary, port, count, options, timeout=300):
        self.proc = subprocess.Popen(
            [str(binary), "--target", f"127.0.0.1:{port}", "--idle", str(count), "--hold", "3600",
             "--timeout", str(timeout), *map(str, options)], stdout=subprocess.PIPE, text=True)
        line = self.proc.stdout.readline()
        if not line.startswith("idle ready"):
            self.close()
            raise RuntimeError(f"sessions do not stand: {line.strip()}")
        self.seconds = float(line.split()[4])
        self.cpu_s = sum(int(x) for x in host.stat_fields(self.proc.pid)[11:13]) / host.TICK

    def close(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        self.proc.wait()
        self.proc.stdout.close()
