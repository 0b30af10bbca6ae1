#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The other end of ./quickstart: takes mail on a loopback port and files it, a message a file.

usage: demo-sink.py PORT FOLDER PIDFILE
Never for anything but a demonstration: everybody on this machine may send to it, nothing is limited.
"""

import os
import socketserver
import sys


class Session(socketserver.StreamRequestHandler):
    timeout = 300
    disable_nagle_algorithm = True

    def say(self, *lines):
        split = [line.partition(" ") for line in lines]
        self.wfile.write("".join(
            f"{code}{'-' if i < len(lines) - 1 else ' '}{text}\r\n"
            for i, (code, _, text) in enumerate(split)).encode())

    def handle(self):
        self.sender, self.rcpts = None, []
        self.say("220 sink.example.net ESMTP")
        while line := self.rfile.readline(4096):
            verb, _, arg = line.decode("utf-8", "replace").strip().partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                self.say("250 sink.example.net", "250 PIPELINING", "250 8BITMIME", "250 SIZE 104857600")
            elif verb == "MAIL":
                self.sender, self.rcpts = arg, []
                self.say("250 2.1.0 Ok")
            elif verb == "RCPT":
                self.rcpts.append(arg)
                self.say("250 2.1.5 Ok")
            elif verb == "DATA":
                self.say("354 End data with <CR><LF>.<CR><LF>")
                self.say(f"250 2.0.0 Ok: filed as {self.server.file(self.content())}")
            elif verb == "QUIT":
                self.say("221 2.0.0 Bye")
                return
            else:
                self.say("250 2.0.0 Ok")

    def content(self):
        data = []
        while (line := self.rfile.readline(1 << 20)) != b".\r\n":
            if not line:
                raise ConnectionError("the content ends early")
            data.append(line[1:] if line.startswith(b".") else line)
        return b"".join(data)


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port, folder):
        super().__init__(("127.0.0.1", port), Session)
        self.folder = folder

    def file(self, content):
        name = f"{os.urandom(6).hex()}.eml"
        part = os.path.join(self.folder, name + ".part")
        with open(part, "wb") as f:
            f.write(content)
        os.rename(part, os.path.join(self.folder, name))
        return name


def main():
    port, folder, pidfile = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    sink = Sink(port, folder)
    with open(pidfile, "w") as f:
        f.write(f"{os.getpid()}\n")
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    sink.serve_forever()


main()
