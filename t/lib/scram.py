# SPDX-License-Identifier: ISC
"""A client of SCRAM-SHA-256 (RFC 5802, RFC 7677): three messages, and what each of them may be wrong in."""
import base64
import hashlib
import hmac
import os


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


class Scram:
    def __init__(self, user, secret, flag="n", authzid=""):
        name = user.replace("=", "=3D").replace(",", "=2C")
        self.secret = secret
        self.gs2 = f"{flag},{'a=' + authzid if authzid else ''},"
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n={name},r={self.nonce}"

    def first(self):
        return b64(self.gs2 + self.bare)

    def final(self, challenge, nonce=None, gs2=None, spoil=False):
        """challenge: what the server sent, in base64."""
        server = base64.b64decode(challenge).decode()
        fields = dict(x.split("=", 1) for x in server.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce) + 10
        salted = hashlib.pbkdf2_hmac("sha256", self.secret.encode(), base64.b64decode(fields["s"]),
                                     int(fields["i"]))
        client, self.server_key = mac(salted, b"Client Key"), mac(salted, b"Server Key")
        bare = f"c={b64(gs2 or self.gs2)},r={nonce or fields['r']}"
        self.message = ",".join((self.bare, server, bare)).encode()
        signature = mac(hashlib.sha256(client).digest(), self.message)
        proof = bytes(a ^ b for a, b in zip(client, signature))
        if spoil:
            proof = bytes([proof[0] ^ 1]) + proof[1:]
        return b64(f"{bare},p={b64(proof)}")

    def good_server(self, final):
        """The server has shown that it knows the secret's verifier."""
        return base64.b64decode(final).decode() == "v=" + b64(mac(self.server_key, self.message))
