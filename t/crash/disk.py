# SPDX-License-Identifier: ISC
"""A file system in a file, whose power can be cut.

The cut is the shutdown ioctl of ext4 and xfs: from then on nothing reaches the image, so that what is found
after the next mount is what a disk without a cache would hold at that moment. With LOG_FLUSHED the journal
is written first, without it is lost back to its last commit. What a disk's own volatile cache would lose or
reorder is not simulated; the daemons' syncs go through to the image.
"""

import atexit
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time

GOING_DOWN = 0x8004587d  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32)
LOG_FLUSHED, LOG_LOST = 1, 2
# The journal's own timer must not hide a missing sync.
OPTIONS = {"ext4": "loop,commit=300", "xfs": "loop"}
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
        "xfs": ["mkfs.xfs", "-q", "-f"]}


class Unavailable(Exception):
    pass


def run(*argv):
    r = subprocess.run(argv, capture_output=True, text=True)
    if r.returncode:
        raise Unavailable(f"{argv[0]}: {r.stderr.strip() or r.returncode}")


def home(megabytes):
    """Where images go: memory when there is plenty, so that a shared disk does not set the pace."""
    v = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
    roomy = v and v.f_bavail * v.f_frsize > (4 * megabytes << 20)
    return tempfile.mkdtemp(prefix="ekiden-disk.", dir="/dev/shm" if roomy else None)


class Disk:
    def __init__(self, kind, megabytes=1024):
        self.kind, self.mounted = kind, False
        if os.geteuid() != 0:
            raise Unavailable("needs root")
        if shutil.which(MAKE[kind][0]) is None:
            raise Unavailable(f"{MAKE[kind][0]} is not installed")
        self.dir = home(megabytes)
        atexit.register(self.remove)
        os.chmod(self.dir, 0o755)
        self.image, self.at = os.path.join(self.dir, "image"), os.path.join(self.dir, "at")
        os.mkdir(self.at)
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        run(*MAKE[kind], self.image)
        self.mount()
        os.chmod(self.at, 0o755)

    def mount(self):
        run("mount", "-t", self.kind, "-o", OPTIONS[self.kind], self.image, self.at)
        self.mounted = True

    def cut(self, how):
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, GOING_DOWN, struct.pack("I", how))
        except OSError as e:
            raise Unavailable(f"shutdown ioctl: {e}") from None
        finally:
            os.close(fd)

    def unmount(self):
        """A process that was just killed may still hold a file."""
        for left in range(200, -1, -1):
            try:
                run("umount", self.at)
                break
            except Unavailable:
                if left == 0:
                    raise
                time.sleep(0.01)
        self.mounted = False

    def again(self):
        self.unmount()
        self.mount()

    def remove(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.at], check=False)
            self.mounted = False
        shutil.rmtree(self.dir, ignore_errors=True)


def try_disk(kind):
    """(disk, None) or (None, why not): a cut is tried once, so that what is refused is known."""
    try:
        d = Disk(kind)
        d.cut(LOG_LOST)
        d.again()
        return d, None
    except Unavailable as e:
        return None, str(e)
