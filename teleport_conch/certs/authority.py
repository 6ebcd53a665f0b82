"""A cluster's certificate authorities, with their private keys: what they sign, and what they never sign.

Only auth imports this. Every certificate is backdated by ``BACKDATED_S``, so that a clock which is a little slow does
not refuse it. TTLs are seconds, ``now`` is POSIX seconds. All that signs raises ``PrincipalForbidden`` for a name that
no certificate may carry, and ``BadParameter`` for anything else that is asked wrongly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence

from attrs import evolve, field, frozen
from cryptography import x509

from teleport_conch import wire
from teleport_conch.certs import extensions, issuing, keys, options, public, tls
from teleport_conch.certs import names as allowed
from teleport_conch.certs.certificate import (
    BACKDATED_S,
    MAX_PRINCIPALS,
    CertificateType,
    Options,
    SSHCertificate,
    certificate_kind,
    option,
)
from teleport_conch.certs.key_pairs import SSHKeyPair, TLSKeyPair
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.certs.public_key import Material, parse
from teleport_conch.errors import BadParameter, CertificateCriticalOption

MAX_TTL_S = 10 * 366 * 24 * 3600
AUTHORITY_TTL_S = 10 * 365 * 24 * 3600
MAX_SIGNED_BYTES = 30_000
"""Of what is signed, so that it fits the packet that every SSH implementation has to take (RFC 4253, section 6.1)."""
_NONCE_BYTES = 32
_SSH_SERIAL_BYTES = 8
_TLS_SERIAL_BYTES = 16

Random = Callable[[int], bytes]


@frozen
class Authority:
    """One of a cluster's two authorities. The first key of each list signs; all are trusted."""

    kind: tls.Kind
    cluster_name: str
    ssh_keys: tuple[SSHKeyPair, ...]
    tls_keys: tuple[TLSKeyPair, ...]
    random: Random = field(default=os.urandom, repr=False, eq=False)

    @classmethod
    def generate(cls, kind: tls.Kind, cluster_name: str, now: float, random: Random = os.urandom) -> Authority:
        """A new authority with one key of each sort; its TLS certificate is good for ten years."""
        cluster = allowed.cluster_name(cluster_name)
        private_key = keys.generate_tls_key()
        window = (now - BACKDATED_S, now + AUTHORITY_TTL_S)
        own = issuing.self_signed(private_key, cluster, _number(random, _TLS_SERIAL_BYTES), window)
        return cls(kind, cluster, (SSHKeyPair.of(keys.generate_ssh_key()),), (TLSKeyPair(private_key, own),), random)

    def public(self) -> PublicAuthority:
        """The same without its secrets."""
        return PublicAuthority(
            self.kind,
            self.cluster_name,
            tuple(pair.public_blob for pair in self.ssh_keys),
            tuple(tls.certificate_pem(pair.certificate) for pair in self.tls_keys),
        )

    def to_json(self, with_secrets: bool) -> dict[str, object]:
        """The resource ``cert_authority`` v2, with ``signing_keys`` and ``tls_key_pairs[].key`` if asked for."""
        if not with_secrets:
            return self.public().to_json()
        pairs = [
            {
                "cert": public.packed(tls.certificate_pem(pair.certificate)),
                "key": public.packed(keys.private_pem(pair.private_key)),
            }
            for pair in self.tls_keys
        ]
        spec = {
            "checking_keys": public.packed_all(keys.public_line(pair.public_blob) for pair in self.ssh_keys),
            "signing_keys": public.packed_all(keys.ssh_private_pem(pair.private_key) for pair in self.ssh_keys),
            "tls_key_pairs": pairs,
        }
        return public.resource(self.kind, self.cluster_name, spec)

    @classmethod
    def from_json(cls, value: object, random: Random = os.urandom) -> Authority:
        """The authority of what :meth:`to_json` answered with its secrets.

        :raises BadParameter: it is no such resource, or its private and public keys do not match.
        """
        known = PublicAuthority.from_json(value)
        _, _, spec = public.read_resource(value)
        ssh_keys = tuple(map(SSHKeyPair.from_pem, public.unpacked_all(spec, "signing_keys")))
        tls_keys = tuple(
            TLSKeyPair.from_pem(public.unpacked(pair, "key"), public.unpacked(pair, "cert"))
            for pair in spec.children("tls_key_pairs", public.MAX_KEYS)
        )
        authority = cls(known.kind, known.cluster_name, ssh_keys, tls_keys, random)
        if not ssh_keys or not tls_keys or authority.public().ssh_keys != known.ssh_keys:
            raise BadParameter("The private keys of this authority are missing, or are not those of its public keys.")
        return authority

    def sign_user_ssh(
        self,
        public_blob: bytes,
        *,
        name: str,
        logins: Sequence[str],
        roles: Sequence[str],
        traits: Mapping[str, Sequence[str]],
        ttl_s: float,
        now: float,
        port_forwarding: bool = True,
        agent_forwarding: bool = True,
        x11_forwarding: bool = False,
        pty: bool = True,
        route_to_cluster: str = "",
        critical_options: Sequence[tuple[str, str]] = (),
        for_old_ssh: bool = False,
        requests: Sequence[str] = (),
    ) -> SSHCertificate:
        """A certificate that lets ``name`` log in as any of ``logins``.

        :param logins: at least one; for a user without any, :func:`teleport_conch.certs.names.no_login_principal`.
        :param for_old_ssh: leave out Teleport's extensions, which OpenSSH up to 7.1 does not take.
        :param critical_options: names and plain values, such as ``("force-command", "uptime")``.
        :param requests: the ids of the access requests that lend some of the roles.
        """
        self._has_to_be("user")
        permits = {
            extensions.PERMIT_PTY: pty,
            extensions.PERMIT_PORT_FORWARDING: port_forwarding,
            extensions.PERMIT_AGENT_FORWARDING: agent_forwarding,
            extensions.PERMIT_X11_FORWARDING: x11_forwarding,
        }
        said = {extensions.ROLES: extensions.write_roles([allowed.role(role) for role in roles])}
        if for_old_ssh:
            said = {}
        if traits and not for_old_ssh:
            said[extensions.TRAITS] = extensions.write_traits(allowed.traits(traits))
        if route_to_cluster and not for_old_ssh:
            said[extensions.ROUTE_TO_CLUSTER] = allowed.cluster_name(route_to_cluster)
        if requests and not for_old_ssh:
            said[extensions.ACTIVE_REQUESTS] = extensions.write_requests(requests)
        said.update(dict.fromkeys((permit for permit, granted in permits.items() if granted), ""))
        limits = _limits(critical_options)
        user, called, window = allowed.user_name(name), allowed.logins(logins), _window(ttl_s, now)
        unsigned = self._unsigned(CertificateType.USER, public_blob, user, called, said, window)
        return self._sign_ssh(evolve(unsigned, critical_options=limits) if limits else unsigned)

    def sign_host_ssh(
        self,
        public_blob: bytes,
        *,
        host_uuid: str,
        node_name: str,
        cluster_name: str,
        principals: Sequence[str],
        role: str,
        ttl_s: float,
        now: float,
    ) -> SSHCertificate:
        """A certificate for a host: its UUID and nodename, each with and without the cluster, and ``principals``.

        :param principals: what else it may be called; loopback names only if they are among these.
        :param role: a system role: ``Node``, ``Proxy``, ``Auth`` or ``Admin``.
        """
        unique = self._host(host_uuid, cluster_name)
        said = {extensions.HOST_ROLE: allowed.host_role(role), extensions.AUTHORITY: self.cluster_name}
        called = allowed.host_principals(unique, node_name, self.cluster_name, principals)
        key_id, window = f"{unique}.{self.cluster_name}", _window(ttl_s, now)
        return self._sign_ssh(self._unsigned(CertificateType.HOST, public_blob, key_id, called, said, window))

    def sign_user_tls(
        self,
        public_key: Material,
        *,
        name: str,
        logins: Sequence[str],
        roles: Sequence[str],
        traits: Mapping[str, Sequence[str]],
        ttl_s: float,
        now: float,
        route_to_cluster: str = "",
        source_address: str = "",
        generation: int = 0,
        requests: Sequence[str] = (),
    ) -> x509.Certificate:
        """A certificate with which a user speaks to the API. The parameters are those of :meth:`sign_user_ssh`.

        :param source_address: addresses and blocks that it may be used from, as in the critical option of that name.
        :param generation: of a robot, how often it has renewed its certificates.
        """
        self._has_to_be("user")
        subject = tls.user_subject(
            allowed.user_name(name),
            allowed.logins(logins),
            [allowed.role(role) for role in roles],
            allowed.traits(traits),
            allowed.cluster_name(route_to_cluster) if route_to_cluster else "",
            source_address,
            generation,
            requests,
        )
        if source_address:
            _limits([(options.SOURCE_ADDRESS, source_address)])
        return self._sign_tls(public_key, subject, (), ttl_s, now)

    def sign_host_tls(
        self,
        public_key: Material,
        *,
        host_uuid: str,
        cluster_name: str,
        role: str,
        names: Sequence[str],
        ttl_s: float,
        now: float,
        batch: str = "",
    ) -> x509.Certificate:
        """A certificate with which a host speaks to the API, and serves TLS.

        :param names: host names and addresses under which it serves. Auth servers get ``teleport.cluster.local`` and
            ``*.teleport.cluster.local`` besides, and proxies ``proxy.teleport.cluster.local``; nobody can ask for them.
        :param batch: the :attr:`~teleport_conch.certs.tls.TLSIdentity.batch` of it; random if empty.
        """
        unique = self._host(host_uuid, cluster_name)
        served = issuing.server_names(unique, self.cluster_name, role, names)
        return self._sign_tls(public_key, tls.host_subject(unique, self.cluster_name, role), served, ttl_s, now, batch)

    def _has_to_be(self, kind: tls.Kind) -> None:
        if self.kind != kind:
            raise BadParameter(f"The {self.kind} authority signs no certificates of a {kind}.")

    def _host(self, host_uuid: str, cluster_name: str) -> str:
        self._has_to_be("host")
        if allowed.cluster_name(cluster_name) != self.cluster_name:
            raise BadParameter(f"The authority of {self.cluster_name} signs for no other cluster.")
        return allowed.host_uuid(host_uuid)

    def _unsigned(
        self,
        type_: CertificateType,
        blob: bytes,
        key_id: str,
        principals: tuple[str, ...],
        said: Mapping[str, str],
        window: tuple[int, int],
    ) -> SSHCertificate:
        if len(principals) > MAX_PRINCIPALS:
            raise BadParameter(f"A certificate has at most {MAX_PRINCIPALS} principals.")
        try:
            kind = parse(blob).kind
        except wire.WireError as reason:
            raise BadParameter(f"This public key is not accepted: {reason}.") from None
        return SSHCertificate(
            kind=certificate_kind(kind),
            nonce=self.random(_NONCE_BYTES),
            public_key=blob,
            serial=_number(self.random, _SSH_SERIAL_BYTES),
            type=type_,
            key_id=key_id,
            principals=principals,
            valid_after=window[0],
            valid_before=window[1],
            critical_options=(),
            extensions=_options(said),
            reserved=b"",
            signature_key=self.ssh_keys[0].public_blob,
            signature=b"",
        )

    def _sign_ssh(self, unsigned: SSHCertificate) -> SSHCertificate:
        signed = self.ssh_keys[0].sign(unsigned)
        _has_to_fit(signed.to_blob())
        return signed

    def _sign_tls(
        self,
        key: Material,
        subject: x509.Name,
        served: Sequence[x509.GeneralName],
        ttl_s: float,
        now: float,
        batch: str = "",
    ) -> x509.Certificate:
        keys.public_blob(key)  # refuses keys that are too weak
        _has_to_fit(subject.public_bytes())
        pair = self.tls_keys[0]
        start, end = _window(ttl_s, now)
        window = (start, min(end, pair.certificate.not_valid_after_utc.timestamp()))
        serial = int(batch + self.random(_TLS_SERIAL_BYTES).hex()[len(batch) :], 16) or 1
        return issuing.leaf(pair.certificate, pair.private_key, key, subject, served, serial, window)


def _window(ttl_s: float, now: float) -> tuple[int, int]:
    if not 0 < ttl_s <= MAX_TTL_S:
        raise BadParameter(f"The time to live of a certificate is more than 0 and at most {MAX_TTL_S} seconds.")
    return int(now) - BACKDATED_S, math.ceil(now + ttl_s)


def _has_to_fit(signed: bytes) -> None:
    if len(signed) > MAX_SIGNED_BYTES:
        raise BadParameter(
            "The certificate would be too long; give the user fewer or shorter roles, logins and traits."
        )


def _number(random: Random, count: int) -> int:
    return int.from_bytes(random(count), "big") or 1


def _limits(asked: Sequence[tuple[str, str]]) -> Options:
    """Critical options, once a verifier of ours would accept every one of them."""
    limits = _options(dict(asked))
    try:
        for name, data in limits:
            options.check_critical_option(CertificateType.USER, name, data)
    except CertificateCriticalOption as reason:
        raise BadParameter(reason.sentence) from None
    if len(limits) != len(asked):
        raise BadParameter("A critical option is asked for twice.")
    return limits


def _options(values: Mapping[str, str]) -> Options:
    return tuple(option(name, value) for name, value in sorted(values.items()))
