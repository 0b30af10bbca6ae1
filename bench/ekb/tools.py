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

    def __init__(self, binary, port, workers=1, options=()):
        self.proc = subprocess.Popen(
            [str(binary), "--listen", f"127.0.0.1:{port}", "--workers", str(workers), "--json",
             *map(str, options)], stdout=subprocess.PIPE, text=True)
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

    def wait_recipients(self, count, seconds, tick=0.1, of=lambda stats: stats["recipients"]):
        """Waits until so many recipients have arrived; gives up when nothing moves any more."""
        end, last, moved = host.monotonic() + seconds, -1, host.monotonic()
        while True:
            stats = self.ask()
            now = host.monotonic()
            if of(stats) >= count:
                return stats
            if of(stats) != last:
                last, moved = of(stats), now
            if now > end or now - moved > 60:
                raise TimeoutError(f"the sink has {last} of {count} recipients, and waits no longer")
            time.sleep(tick)

    def close(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        self.proc.wait()
        self.reader.join(5)
        self.proc.stdout.close()


def source_argv(binary, port, options, timeout):
    return [str(binary), "--target", f"127.0.0.1:{port}", "--timeout", str(timeout), "--json",
            *map(str, options)]


def source_result(stdout, stderr, status):
    if not stdout.startswith("{"):
        raise RuntimeError(f"mailsource: {stdout}{stderr}")
    out = json.loads(stdout)
    if status != 0:
        raise RuntimeError(f"mailsource: {out['failed']} of {out['messages']} messages failed: "
                           f"{out['errors']} {stderr}")
    return out


def source(binary, port, options, timeout=SOURCE_TIMEOUT):
    """One run of mailsource; its JSON."""
    p = subprocess.run(source_argv(binary, port, options, timeout), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=timeout + 30, check=False)
    return source_result(p.stdout, p.stderr, p.returncode)


class Background:
    """mailsource that runs beside something else, until finish()."""

    def __init__(self, binary, port, options, timeout=SOURCE_TIMEOUT):
        self.proc = subprocess.Popen(source_argv(binary, port, options, timeout),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)

    def finish(self):
        """No further messages; the JSON of the run."""
        self.proc.terminate()
        stdout, stderr = self.proc.communicate(timeout=60)
        return source_result(stdout, stderr, self.proc.returncode)

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        for pipe in (self.proc.stdin, self.proc.stdout, self.proc.stderr):
            pipe.close()


class Gathered(Background):
    """mailsource --gather: all sessions stand before the first message and after the last."""

    def __init__(self, binary, port, options, timeout=SOURCE_TIMEOUT):
        super().__init__(binary, port, [*options, "--gather"], timeout)
        line = self.proc.stdout.readline()
        if not line.startswith("gathered"):
            self.close()
            raise RuntimeError(f"sessions do not stand: {line.strip()}")

    def run(self):
        """All sessions send; the JSON of the run."""
        self.proc.stdin.write("\n")
        self.proc.stdin.flush()
        out = json.loads(self.proc.stdout.readline() or "{}")
        if not out or out["accepted"] != out["messages"]:
            raise RuntimeError(f"mailsource: {out.get('failed')} of {out.get('messages')} messages "
                               f"failed: {out.get('errors')}")
        return out


class Profile:
    """perf record on processes, until close(): where their time goes."""

    def __init__(self, path, pids):
        self.proc = subprocess.Popen(["perf", "record", "-q", "-F", "1999", "-e", "cpu-clock", "-g", "-o",
                                      str(path), "-p", ",".join(map(str, pids))],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def close(self):
        self.proc.send_signal(signal.SIGINT)
        self.proc.wait(60)


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
