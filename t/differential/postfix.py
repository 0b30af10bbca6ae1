# SPDX-License-Identifier: ISC
"""Debian's Postfix with a configuration and a queue of its own, on two loopback ports: it takes mail and holds it."""

import os
import pwd
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../smtpd"))
from harness import folder, free_ports, make_certificate, tap, wait_for  # noqa: E402

MAIN = """
compatibility_level = 3.6
config_directory = {dir}/etc
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
multi_instance_enable = yes
multi_instance_name = postfix-differential
syslog_name = postfix-differential
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
myhostname = mta.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_recipient_restrictions = reject_non_fqdn_recipient
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_reject_unlisted_recipient = no
smtpd_helo_required = yes
strict_rfc821_envelopes = yes
smtpd_forbid_bare_newline = yes
smtpd_forbid_unauth_pipelining = yes
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = 10000
smtpd_junk_command_limit = 100000
smtpd_timeout = 60s
smtpd_tls_chain_files = {key}, {cert}
message_size_limit = 10485760
mailbox_size_limit = 0
default_process_limit = 20
max_use = 1000
"""
# The listeners are named as ours.
MASTER = """
127.0.0.1:{net} inet n - n - 10 smtpd
    -o smtpd_tls_security_level=none -o mynetworks=127.0.0.0/8
127.0.0.1:{mx} inet n - n - 10 smtpd
    -o smtpd_tls_security_level=may -o mynetworks=192.0.2.0/24
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
pickup unix n - n 60 1 pickup
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self):
        self.dir = os.path.join(folder(), "postfix")
        for name in ("etc", "queue", "data"):
            os.makedirs(os.path.join(self.dir, name))
        os.chown(os.path.join(self.dir, "data"), pwd.getpwnam("postfix").pw_uid, -1)
        self.ports = dict(zip(("net", "mx"), free_ports(2)))
        cert, key = make_certificate("mta.test")
        for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
            with open(os.path.join(self.dir, "etc", name), "w") as f:
                f.write(text.format(dir=self.dir, cert=cert, key=key, **self.ports).lstrip())
        self.run("start")
        try:
            wait_for(self.serves, 20, "Postfix")
        except AssertionError:
            with open(os.path.join(self.dir, "mail.log")) as f:
                print(f"Bail out! Postfix does not start: {f.read()[-1500:]}")
            sys.exit(1)

    def run(self, verb):
        return subprocess.run(["postfix", "-c", os.path.join(self.dir, "etc"), verb], capture_output=True, text=True, timeout=60)

    def serves(self):
        try:
            with socket.create_connection(("127.0.0.1", self.ports["mx"]), 2) as c:
                return c.recv(4) == b"220 "
        except OSError:
            return False

    def version(self):
        return subprocess.run(["postconf", "-hd", "mail_version"], capture_output=True, text=True).stdout.strip()

    def held(self):
        """How many messages it took."""
        return sum(len(names) for queue in ("incoming", "active", "deferred", "hold")
                   for _, _, names in os.walk(os.path.join(self.dir, "queue", queue)))

    def end(self):
        self.run("stop")
        tap.ok(not self.serves(), "Postfix ends")
