# SPDX-License-Identifier: ISC
"""The control socket spoken by hand (lib/ipc.h frames), for tests of master and of hostile bytes."""

import socket
import struct

ROLES = ["master", "smtpd", "authd", "signd", "qmgr", "smtp", "bounce", "dnsd"]
HELLO, OPEN, CALL, ROW, END = 0x0001, 0x0f01, 0x0f02, 0x1001, 0x1002


def frame(kind, body):
    return struct.pack(">IHH", len(body), kind, 0) + body


def block(data):
    return struct.pack(">I", len(data)) + data


class Control:
    def __init__(self, path, digest, role, timeout=60, instance=0):
        self.hello = frame(HELLO, struct.pack(">Q", digest))
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(timeout)
        self.s.connect(path)
        self.s.sendall(self.hello + frame(OPEN, struct.pack(">BI", ROLES.index(role), instance)) + self.hello)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            got = self.s.recv(n - len(data))
            if not got:
                raise EOFError
            data += got
        return data

    def call(self, command):
        """(status, text, rows); EOFError when the other side is gone."""
        self.s.sendall(frame(CALL, block(command.encode()) + b"\0" + block(b"")))
        rows = []
        while True:
            size, kind, _ = struct.unpack(">IHH", self.exactly(8))
            body = self.exactly(size)
            if kind == ROW:
                rows.append(fields(body[4:]))
            elif kind == END:
                return body[0], body[5:].decode(), rows


def fields(data):
    row = {}
    while data:
        n = struct.unpack(">I", data[:4])[0]
        name, data = data[4:4 + n].decode(), data[4 + n + 1:]
        n = struct.unpack(">I", data[:4])[0]
        row[name], data = data[4:4 + n].decode(), data[4 + n:]
    return row
