"""A server's host keys: what it shows of them, and who signs with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ed25519

from teleport_conch import wire
from teleport_conch.certs import keys
from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.ssh.transport.algorithms import ED25519, ED25519_CERTIFICATE
from teleport_conch.ssh.transport.kex import Transcript
from teleport_conch.ssh.transport.negotiation import COOKIE_BYTES

PROVED = b"hostkeys-prove-00@openssh.com"


class HostKey(Protocol):
    """One host key, under one of the names that it may be agreed upon.

    The private half may be elsewhere: in another process, say, or in a security module.
    """

    @property
    def algorithm(self) -> bytes:
        """The name of the host key algorithm, such as ``ssh-ed25519-cert-v01@openssh.com``."""

    @property
    def blob(self) -> bytes:
        """The public key or the certificate, as the client gets it and as the exchange hash covers it."""

    def cookie(self) -> bytes:
        """16 bytes for our offer of an exchange that may be signed with this key, never the same twice."""

    async def sign(self, transcript: Transcript) -> bytes:
        """The signature of an exchange as a blob. With a certificate it is the plain key's (PROTOCOL.certkeys)."""

    async def prove(self, session_id: bytes) -> bytes:
        """The signature of :func:`proved_part` as a blob."""


HostKeys = Mapping[bytes, HostKey]
"""Host keys by the names of their algorithms, most wanted first. Who holds one of them holds all."""


def proved_part(session_id: bytes, blob: bytes) -> bytes:
    """What a server signs to prove to the client of a session that it has a key (OpenSSH's PROTOCOL, section 2.5)."""
    return wire.string(PROVED) + wire.string(session_id) + wire.string(blob)


@frozen
class LocalHostKey:
    """An Ed25519 key that is held in this process. See :class:`HostKey`."""

    algorithm: bytes
    blob: bytes
    _key: ed25519.Ed25519PrivateKey = field(repr=False)

    def cookie(self) -> bytes:
        return os.urandom(COOKIE_BYTES)

    async def sign(self, transcript: Transcript) -> bytes:
        return self._signed(transcript.digest)

    async def prove(self, session_id: bytes) -> bytes:
        return self._signed(proved_part(session_id, self.blob))

    def _signed(self, data: bytes) -> bytes:
        return wire.string(ED25519) + wire.string(self._key.sign(data))


def host_keys(private_key: str, certificate: SSHCertificate) -> HostKeys:
    """The host keys of a server by algorithm, the certified one first; the plain one is for clients without a CA.

    :param private_key: an Ed25519 key in PEM form.
    :raises ValueError: the certificate is for another key.
    """
    key = keys.load_private_pem(private_key)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError("a host key has to be an Ed25519 key")
    plain = keys.public_blob(key.public_key())
    if certificate.public_key != plain:
        raise ValueError("the certificate is for another key")
    certified = LocalHostKey(ED25519_CERTIFICATE, certificate.to_blob(), key)
    return {ED25519_CERTIFICATE: certified, ED25519: LocalHostKey(ED25519, plain, key)}
