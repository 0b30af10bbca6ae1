# SPDX-License-Identifier: ISC
"""Other mail servers, for --peers.  Their packages are unpacked, never installed: each runs in a mount
namespace of its own, in an overlay of the machine's root folder, and leaves nothing behind there."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

from . import host
from .mta import HERE, Mta, tail

ROWS = frozenset(("accept", "relay-4k", "relay-4k-10r", "relay-100k", "relay-100k-10r", "conn", "tls-reuse",
                  "tls-conn", "latency", "idle-plain", "idle-tls"))


class Jailed(Mta):
    """A server that believes it is installed."""

    packages = ()  # Debian packages that are unpacked over the root folder
    users = ()  # accounts that they need
    spool = "/"  # where the server wants its queue
    rows = ROWS  # its queue tools are not driven here

    def package_folder(self):
        return self.settings.packages / self.name

    def fetch(self):
        """Brings the packages into a folder of the harness; once."""
        folder = self.package_folder()
        if folder.exists():
            return
        part = folder.with_suffix(".part")
        host.remove_tree(part)
        part.mkdir(parents=True)
        self.unpack(part)
        part.rename(folder)

    def unpack(self, folder):
        host.run(["apt-get", "-q", "download", *self.packages], cwd=folder)
        for deb in sorted(folder.glob("*.deb")):
            host.run(["dpkg-deb", "-x", str(deb), str(folder)])
            with open(folder / "versions", "a", encoding="ascii") as f:
                f.write(host.run(["dpkg-deb", "-f", str(deb), "Version"]).stdout)
            deb.unlink()
        # A folder /lib of a package would hide the machine's link from /lib to usr/lib.
        for old in (folder / n for n in ("lib", "bin", "sbin")):
            if old.is_dir():
                shutil.copytree(old, folder / "usr" / old.name, symlinks=True, dirs_exist_ok=True)
                host.remove_tree(old)

    def version(self):
        return (self.package_folder() / "versions").read_text().split()[0]

    def accounts(self):
        """passwd and group of the machine with the server's own accounts added."""
        etc = self.dir / "upper/etc"
        etc.mkdir(exist_ok=True)
        passwd, group = (pathlib.Path(f"/etc/{n}").read_text() for n in ("passwd", "group"))
        for i, user in enumerate(self.users):
            passwd += f"{user}:x:{61600 + i}:{61600 + i}::/nonexistent:/usr/sbin/nologin\n"
            group += f"{user}:x:{61600 + i}:\n"
        (etc / "passwd").write_text(passwd)
        (etc / "group").write_text(group)

    def configure(self, hold):
        self.copy_tls()
        for name in ("spool", "work", "root"):
            (self.dir / name).mkdir()
        shutil.copytree(self.package_folder(), self.dir / "upper", symlinks=True)
        self.accounts()
        self.settle_in(hold)

    def settle_in(self, hold):
        """Writes the configuration below upper/ and prepares the queue folder."""
        raise NotImplementedError

    def daemon(self):
        """argv of the server in the foreground, as seen inside."""
        raise NotImplementedError

    def launch(self, wrapper):
        d, root = self.dir, self.dir / "root"
        script = f"""mount --make-rprivate /
            mount -t overlay overlay -o lowerdir=/,upperdir={d}/upper,workdir={d}/work {root}
            mkdir -p {root}{d} {root}{self.spool}
            mount --bind {d} {root}{d}
            mount --bind {d}/spool {root}{self.spool}
            mount --bind /proc {root}/proc
            mount --rbind /dev {root}/dev
            mount -t tmpfs tmpfs {root}/run
            exec chroot {root} "$@" """
        argv = [*wrapper, "unshare", "-m", "sh", "-ec", script, "sh", *self.daemon()]
        with open(d / "start.out", "ab") as out:
            self.proc = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                         preexec_fn=self.account.enter)

    def inside(self, *argv):
        """A command in the server's own view of the machine."""
        host.run(["nsenter", "-t", str(self.roots()[0]), "-m", "-r", *argv])

    def alive(self):
        return self.proc.poll() is None

    def shutdown(self):
        if not self.alive():
            return
        for pid in self.roots():
            os.kill(pid, signal.SIGTERM)
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()

    def roots(self):
        """The server itself, also when it runs below strace."""
        pids = host.tree([self.proc.pid])
        return pids[1:2] if len(pids) > 1 and self.below_strace() else pids[:1]

    def below_strace(self):
        return os.path.basename(os.readlink(f"/proc/{self.proc.pid}/exe")) == "strace"

    def queue_folder(self):
        return self.dir / "spool"

    def queue_files(self):
        """Folder below the queue, and what the name of a message's file ends with."""
        return ".", ""

    def queue_empty(self):
        sub, suffix = self.queue_files()
        return not any(f.endswith(suffix) for _, _, names in os.walk(self.dir / "spool" / sub)
                       for f in names)

    def queue_settled(self):
        return None

    def log_tail(self):
        return tail(self.dir / "start.out")


class OpenSMTPD(Jailed):
    name = "opensmtpd"
    packages = ("opensmtpd",)
    users = ("opensmtpd", "opensmtpq")
    spool = "/var/spool/smtpd"

    def settle_in(self, hold):
        self.hold = hold
        (self.dir / "upper/var/lib/opensmtpd/empty").mkdir(parents=True, exist_ok=True)
        os.chmod(self.dir / "spool", 0o711)
        # Nobody answers DNS here: without this every connection waits for a time-out.
        (self.dir / "upper/etc/resolv.conf").write_text("lookup file\n")
        self.fill("peers/smtpd.conf.in", self.dir / "etc/smtpd.conf", SINK=self.settings.sink_port,
                  CONCURRENCY=self.settings.concurrency)

    def daemon(self):
        return ["/usr/sbin/smtpd", "-d", "-f", str(self.dir / "etc/smtpd.conf")]

    def after_start(self, hold):
        if self.hold:
            self.inside("/usr/sbin/smtpctl", "pause", "mta")

    def queue_files(self):
        return "queue", ""


class Exim(Jailed):
    name = "exim"
    packages = ("exim4-base", "exim4-daemon-light", "libidn12")
    users = ("Debian-exim",)
    spool = "/var/spool/exim4"

    def settle_in(self, hold):
        (self.dir / "upper/etc/exim4").mkdir(exist_ok=True)
        (self.dir / "log").mkdir()
        os.chown(self.dir / "log", 61600, 61600)
        os.chown(self.dir / "spool", 61600, 61600)
        os.chown(self.dir / "etc/key.pem", 61600, 61600)
        self.fill("peers/exim4.conf.in", self.dir / "upper/etc/exim4/exim4.conf",
                  SINK=self.settings.sink_port, HOLD="true" if hold else "false",
                  CONCURRENCY=self.settings.concurrency)

    def daemon(self):
        return ["/usr/sbin/exim4", "-bdf"]

    def queue_files(self):
        return "input", "-H"

    def log_tail(self):
        return super().log_tail() + "\n" + tail(self.dir / "log/mainlog")


class Haraka(Jailed):
    """From npm; it runs as root, all in one process (nodes = cpus would start one a core)."""

    name = "haraka"
    spool = "/haraka/queue"
    rows = ROWS - {"accept"}  # it cannot keep mail without delivering it

    def unpack(self, folder):
        home = folder / "haraka-home"
        home.mkdir()
        host.run(["npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", str(home),
                  "Haraka"])

    def version(self):
        package = self.package_folder() / "haraka-home/node_modules/Haraka/package.json"
        return json.loads(package.read_text())["version"]

    def settle_in(self, hold):
        home = self.dir / "upper/haraka"
        for name in ("config", "plugins", "queue"):
            (home / name).mkdir(parents=True)
        for source in sorted((HERE / "peers/haraka").iterdir()):
            kind = "plugins" if source.name.endswith(".js.in") else "config"
            self.fill(source.relative_to(HERE), home / kind / source.name.removesuffix(".in"),
                      SINK=self.settings.sink_port, CONCURRENCY=self.settings.concurrency)
        shutil.copy(self.settings.cert, home / "config/tls_cert.pem")
        shutil.copy(self.settings.key, home / "config/tls_key.pem")

    def daemon(self):
        return ["env", "NODE_PATH=/haraka-home/node_modules", shutil.which("node"),
                "/haraka-home/node_modules/Haraka/bin/haraka", "-c", "/haraka"]


PEERS = {c.name: c for c in (OpenSMTPD, Exim, Haraka)}
