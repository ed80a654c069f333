"""The initiator's side of WireGuard's handshake, written from the white paper.

Shares no code with Wicket: uses hashlib's BLAKE2s and the `cryptography` package.
"""
import hashlib
import hmac
import os
import struct
import time
from base64 import b64decode, b64encode

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def blake2s(data, key=b"", size=32):
    return hashlib.blake2s(data, key=key, digest_size=size).digest()


def hmac_blake2s(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def kdf(key, data, count):
    secret = hmac_blake2s(key, data)
    outputs, previous = [], b""
    for i in range(1, count + 1):
        previous = hmac_blake2s(secret, previous + bytes([i]))
        outputs.append(previous)
    return outputs


def nonce(counter):
    return b"\0\0\0\0" + struct.pack("<Q", counter)


def tai64n(seconds=None):
    now = time.time() if seconds is None else seconds
    return struct.pack(">QI", 0x400000000000000A + int(now), int((now % 1) * 1e9) & ~0xFFFFFF)


def clamp(private):
    """Clamps like `wg genkey`, and like devices store keys."""
    return bytes([private[0] & 248]) + private[1:31] + bytes([private[31] & 127 | 64])


class Key:
    """A Curve25519 key pair."""

    def __init__(self, private=None):
        self.private = private or clamp(os.urandom(32))
        self._key = X25519PrivateKey.from_private_bytes(self.private)
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def exchange(self, public):
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))

    @property
    def private64(self):
        return b64encode(self.private).decode()

    @property
    def public64(self):
        return b64encode(self.public).decode()


def hchacha20(key, nonce16):
    """[draft-irtf-cfrg-xchacha 2.2]"""
    def rotate(value, bits):
        return (value << bits | value >> 32 - bits) & 0xffffffff

    def quarter(a, b, c, d):
        for bits, (x, y, z) in ((16, (a, b, d)), (12, (c, d, b)), (8, (a, b, d)), (7, (c, d, b))):
            state[x] = (state[x] + state[y]) & 0xffffffff
            state[z] = rotate(state[z] ^ state[x], bits)
    state = list(struct.unpack("<4I8I4I", b"expand 32-byte k" + key + nonce16))
    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def xchacha20poly1305_open(key, nonce24, sealed, associated):
    inner = ChaCha20Poly1305(hchacha20(key, nonce24[:16]))
    return inner.decrypt(bytes(4) + nonce24[16:], sealed, associated)


def from64(text):
    return b64decode(text)


class Handshake:
    """One initiation, and the session that its response completes."""

    def __init__(self, static, responder, psk=bytes(32), stamp=None, index=None):
        self.static, self.responder, self.psk = static, responder, psk
        self.index = index if index is not None else os.urandom(4)
        self.ephemeral = Key()
        self.ck = blake2s(CONSTRUCTION)
        self.h = blake2s(blake2s(self.ck + IDENTIFIER) + responder)
        self._mix_hash(self.ephemeral.public)
        self.ck, = kdf(self.ck, self.ephemeral.public, 1)
        self.ck, key = kdf(self.ck, self.ephemeral.exchange(responder), 2)
        sealed_static = self._seal(key, static.public)
        self.message = b"\1\0\0\0" + self.index + self.ephemeral.public + sealed_static
        self.message += self._timestamp(stamp or tai64n())
        self.message += self.mac1(self.message) + bytes(16)

    def _timestamp(self, stamp):
        self.ck, key = kdf(self.ck, self.static.exchange(self.responder), 2)
        return self._seal(key, stamp)

    def _mix_hash(self, data):
        self.h = blake2s(self.h + data)

    def _seal(self, key, plaintext):
        sealed = ChaCha20Poly1305(key).encrypt(nonce(0), plaintext, self.h)
        self._mix_hash(sealed)
        return sealed

    def mac1(self, message):
        return blake2s(message, key=blake2s(b"mac1----" + self.responder), size=16)

    def open_response(self, response):
        """Returns (send key, receive key, receiver index); raises when it is not for us."""
        if len(response) != 92 or response[:4] != b"\2\0\0\0" or response[8:12] != self.index:
            raise ValueError("not the response to this initiation")
        remote = response[12:44]
        self._mix_hash(remote)
        self.ck, = kdf(self.ck, remote, 1)
        self.ck, = kdf(self.ck, self.ephemeral.exchange(remote), 1)
        self.ck, = kdf(self.ck, self.static.exchange(remote), 1)
        self.ck, temporary, key = kdf(self.ck, self.psk, 3)
        self._mix_hash(temporary)
        ChaCha20Poly1305(key).decrypt(nonce(0), response[44:60], self.h)
        send, receive = kdf(self.ck, b"", 2)
        return send, receive, response[4:8]


    def answer_cookie(self, reply):
        """Opens a cookie reply to this initiation and adds mac2. Returns the cookie."""
        if len(reply) != 64 or reply[:4] != b"\3\0\0\0" or reply[4:8] != self.index:
            raise ValueError("not a cookie reply to this initiation")
        key = blake2s(b"cookie--" + self.responder)
        cookie = xchacha20poly1305_open(key, reply[8:32], reply[32:], self.message[116:132])
        self.use_cookie(cookie)
        return cookie

    def use_cookie(self, cookie):
        self.message = self.message[:132] + blake2s(self.message[:132], key=cookie, size=16)


class StaticOnlyForgery(Handshake):
    """A forgery that anyone with two public keys can make, without a private key."""

    def __init__(self, victim_public, responder):
        fake = Key()
        fake.public = victim_public
        super().__init__(fake, responder)

    def _timestamp(self, stamp):
        return os.urandom(28)


def data_packet(send_key, receiver, counter=0, plaintext=b""):
    """A data message; without plaintext it is a keepalive."""
    padded = plaintext + bytes(-len(plaintext) % 16)
    return (b"\4\0\0\0" + receiver + struct.pack("<Q", counter) +
            ChaCha20Poly1305(send_key).encrypt(nonce(counter), padded, b""))
