# SPDX-License-Identifier: ISC
"""What the machine tells: CPU time and memory of a process tree, file systems, free ports."""

import hashlib
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def monotonic():
    """The clock that mailsource and mailsink print."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def free_ports(count, low=20000, high=30000):
    """Free ports below the ephemeral range, so that no outgoing connection can take them."""
    found, held = [], []
    port = low + os.getpid() % ((high - low) // 2)
    while len(found) < count:
        port += 1
        if port >= high:
            raise RuntimeError("no free ports")
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            s.close()
            continue
        found.append(port)
        held.append(s)
    for s in held:
        s.close()
    return found


def stat_fields(pid):
    """/proc/PID/stat from field 3 (state) on; None when the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2:].split()


def tree(roots):
    """Process ids of the roots and all their descendants."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        f = stat_fields(name)
        if f is not None and f[0] != "Z":
            children.setdefault(int(f[1]), []).append(int(name))
    out, todo = [], [p for p in roots if stat_fields(p) is not None]
    while todo:
        pid = todo.pop()
        out.append(pid)
        todo += children.get(pid, [])
    return sorted(out)


class ProcAccount:
    """CPU time by walking /proc; a reaped child is in its parent's cutime."""

    kind = "proc"

    def __init__(self):
        self.roots = []

    def enter(self):
        """For preexec_fn: nothing to join."""

    def pids(self):
        return tree(self.roots)

    def cpu_seconds(self):
        ticks = 0
        for pid in self.pids():
            f = stat_fields(pid)
            if f is not None:
                ticks += sum(int(x) for x in f[11:15])
        return ticks / TICK

    def close(self):
        pass


class CgroupAccount:
    """CPU time of a control group: exact, and processes that have ended stay counted."""

    kind = "cgroup"

    def __init__(self, path, version):
        self.path, self.version, self.roots = path, version, []
        path.mkdir()

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def pids(self):
        return sorted(int(x) for x in (self.path / "cgroup.procs").read_text().split())

    def cpu_seconds(self):
        if self.version == 1:
            return int((self.path / "cpuacct.usage").read_text()) / 1e9
        for line in (self.path / "cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) / 1e6
        raise RuntimeError("no usage_usec in cpu.stat")

    def close(self):
        try:
            self.path.rmdir()
        except OSError:
            pass


def account(name, force_proc=False):
    """A cgroup where one can be made (root), /proc otherwise."""
    places = (("/sys/fs/cgroup/cpuacct", 1), ("/sys/fs/cgroup/cpu,cpuacct", 1), ("/sys/fs/cgroup", 2))
    for base, version in places:
        base = pathlib.Path(base)
        wanted = "cpuacct.usage" if version == 1 else "cgroup.controllers"
        if force_proc or not (base / wanted).exists():
            continue
        try:
            return CgroupAccount(base / f"ekbench-{os.getpid()}-{name}", version)
        except OSError:
            continue
    return ProcAccount()


def sha_speed(seconds=0.1):
    """MB/s of SHA-256 on one CPU."""
    data, done, begin = bytes(1 << 20), 0, monotonic()
    while monotonic() - begin < seconds:
        hashlib.sha256(data).digest()
        done += 1
    return done / (monotonic() - begin)


def sync_speed(directory, seconds=0.2):
    """4 KiB appends with fdatasync a second, one after the other."""
    path = pathlib.Path(directory) / "sync-speed"
    done, begin = 0, monotonic()
    with open(path, "wb", buffering=0) as f:
        while monotonic() - begin < seconds:
            f.write(bytes(4096))
            os.fdatasync(f.fileno())
            done += 1
    took = monotonic() - begin
    path.unlink()
    return done / took


def pss_bytes(pids):
    """Proportional set size; shared pages are counted once over all users."""
    total = 0
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def memory_available():
    """Bytes; its fall also shows kernel memory: sockets, page tables, process structures."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def busy_seconds():
    """CPU time that the whole machine spent on anything, and what the hypervisor took away."""
    f = [int(x) for x in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (f[0] + f[1] + f[2] + f[5] + f[6]) / TICK, f[7] / TICK


def wait_quiet(seconds, share=0.1):
    """Waits until the machine is nearly idle for a second; False when it never was."""
    end = monotonic() + seconds
    while monotonic() < end:
        before, begin = busy_seconds()[0], monotonic()
        time.sleep(1)
        if busy_seconds()[0] - before < share * os.cpu_count() * (monotonic() - begin):
            return True
    return False


def kernel_thread_seconds():
    """CPU time of kernel threads: journal, write-back, loop device, soft interrupts."""
    ticks = 0
    for name in os.listdir("/proc"):
        f = stat_fields(name) if name.isdigit() else None
        if f is not None and f[1] == "2":
            ticks += int(f[11]) + int(f[12])
    return ticks / TICK


def wait_gone(pids, seconds):
    """Waits for the end of the processes; returns those that are left."""
    end = monotonic() + seconds
    left = list(pids)
    while left and monotonic() < end:
        left = [p for p in left if (stat_fields(p) or ["Z"])[0] != "Z"]
        if left:
            time.sleep(0.05)
    return left


def wait_banner(port, seconds, alive):
    """Seconds until a server on the port says 220; raises TimeoutError, or at once when dead."""
    start = monotonic()
    while monotonic() - start < seconds:
        if not alive():
            raise RuntimeError("ended right after its start")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
                if s.recv(512).startswith(b"220"):
                    took = monotonic() - start
                    s.sendall(b"QUIT\r\n")
                    s.recv(512)
                    return took
        except OSError:
            pass
        time.sleep(0.02)
    raise TimeoutError(f"no banner on port {port} within {seconds} s")


# -- file systems --

def mount_of(path):
    """(device name, type, options) of the file system that holds path."""
    dev = os.stat(path).st_dev
    want = f"{os.major(dev)}:{os.minor(dev)}"
    found = ("?", "?", "")
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        if left.split()[2] == want:
            fstype, source, options = right.split(" ", 2)
            found = (source, fstype, options)
    link = pathlib.Path(f"/sys/dev/block/{want}")
    if link.exists():
        found = (link.resolve().name,) + found[1:]
    return found


def journal_warning(path):
    """Text of a warning when path is not on ext4 with a journal or on xfs, else None."""
    device, fstype, options = mount_of(path)
    where = f"{path} is on {fstype} ({device})"
    if fstype == "xfs":
        return None
    if fstype not in ("ext4", "ext3"):
        return f"{where}: not a journaled ext4 or xfs; figures about durable mail mean little there"
    info = pathlib.Path(f"/proc/fs/ext4/{device}/options")
    try:
        lines = info.read_text().split()
    except OSError:
        return f"{where}: cannot tell whether it has a journal"
    if not any(x.startswith("data=") for x in lines):
        return f"{where} without a journal; consider --make-fs 8G"
    if "nobarrier" in lines or "nobarrier" in options:
        return f"{where} mounted with nobarrier: a sync does not reach the disk"
    return None


def byte_count(text):
    """"6G", "512M" or a number."""
    unit = {"K": 10, "M": 20, "G": 30}.get(text[-1].upper(), 0)
    return int(text[:-1] if unit else text) << unit


class LoopFs:
    """A journaled ext4 in a file, mounted while the harness runs."""

    def __init__(self, directory, size):
        self.image = pathlib.Path(directory) / "fs.img"
        self.mount = pathlib.Path(directory) / "fs"
        self.mount.mkdir(exist_ok=True)
        if os.path.ismount(self.mount):
            raise RuntimeError(f"{self.mount} is mounted already; unmount it first")
        # Written out, and past the host's page cache, so that a sync costs what it costs on a disk: in
        # a sparse image each sync would also allocate blocks and flush both suites' dirty pages.
        with open(self.image, "wb") as f:
            for _ in range(byte_count(size) >> 22):
                f.write(bytes(1 << 22))
            os.fsync(f.fileno())
        run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0",
             str(self.image)])
        self.loop = run(["losetup", "--show", "-f", "--direct-io=on", str(self.image)]).stdout.strip()
        run(["mount", self.loop, str(self.mount)])
        os.chmod(self.mount, 0o755)

    def close(self):
        for _ in range(10):
            if subprocess.run(["umount", str(self.mount)], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0:
                run(["losetup", "-d", self.loop])
                self.image.unlink()
                return
            time.sleep(0.5)
        print(f"ekbench: cannot unmount {self.mount}", flush=True)


def tree_usage(path):
    """(allocated bytes, inodes) of all that is below path."""
    total = inodes = 0
    todo = [path]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for e in entries:
                try:
                    st = e.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                total += st.st_blocks * 512
                inodes += 1
                if e.is_dir(follow_symlinks=False):
                    todo.append(e.path)
    return total, inodes


def drop_caches():
    """Clean pages, dentries and inodes leave memory, so that the next look is a cold one."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


def sync_fs(path):
    """Writes out what is dirty, so that one run does not pay for the one before."""
    run(["sync", "-f", str(path)])


def run(argv, check=True, timeout=600, **kw):
    """subprocess.run with the output kept for the error message."""
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=timeout, check=False, **kw)
    if check and p.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: status {p.returncode}: {p.stdout[-800:]}")
    return p


def remove_tree(path):
    shutil.rmtree(path, ignore_errors=True)
    if os.path.exists(path):
        raise RuntimeError(f"cannot remove {path}")


def describe(path):
    """Facts that belong beside every figure."""
    device, fstype, _ = mount_of(path)
    model = next((x.split(":", 1)[1].strip() for x in open("/proc/cpuinfo")
                  if x.startswith("model name")), "?")
    return {"kernel": platform.release(), "cpus": os.cpu_count(), "cpu": model,
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "filesystem": fstype, "device": device, "journal_warning": journal_warning(path),
            "load": os.getloadavg()[0], "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def make_certificate(directory, kind):
    cert, key = directory / "cert.pem", directory / "key.pem"
    how = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    if kind == "rsa":
        how = ["-newkey", "rsa:2048"]
    run(["openssl", "req", "-x509", *how, "-nodes", "-days", "30", "-subj",
         "/CN=bench.invalid", "-keyout", str(key), "-out", str(cert)])
    return cert, key
