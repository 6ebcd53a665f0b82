"""The web API of a proxy, as ``tsh`` uses it: what a proxy says of itself, and logins.

A password goes to a proxy that was verified, and to no other. :func:`verified` does that, in one of three ways: by the
pin of the cluster's authority, by the authority that an earlier login was told, or by the authorities that this
computer trusts for the web.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_conch.certs import keys, names, public
from teleport_conch.certs.names import PROXY_SERVER_NAME
from teleport_conch.certs.public import PublicAuthority
from teleport_conch.certs.tls import load_certificate_pem
from teleport_conch.client.answers import as_text, items
from teleport_conch.client.connections import split_address
from teleport_conch.client.exchange import Call
from teleport_conch.client.failures import PROXY
from teleport_conch.client.people import Credentials
from teleport_conch.client.tls import IClusterPolicy, PublicPolicy, ServerPolicy, UnverifiedPolicy
from teleport_conch.client.transport import Transport
from teleport_conch.config.addresses import parse_address
from teleport_conch.errors import BadParameter, CertificateRefused, ConnectionProblem, PinMismatch
from teleport_conch.resources.fields import Fields

#: Seconds that one call may take. A login takes as long as its password is meant to.
TIMEOUT_S = 30.0
#: Certificates that a proxy may show as those of the cluster's authority; rotation needs two.
MAX_AUTHORITIES = 16
_NS = 1_000_000_000


@frozen
class ProxyFacts:
    """What a proxy says of itself (``GET /webapi/ping``). Addresses are ``host:port``, empty where none was set.

    :ivar second_factor: ``otp`` or ``off``.
    :ivar min_client_version: older clients are not served, or not rightly; empty for any.
    """

    cluster_name: str
    second_factor: str
    web_public_addr: str
    ssh_public_addr: str
    ssh_listen_addr: str
    server_version: str
    min_client_version: str = ""

    @classmethod
    def from_json(cls, value: object) -> ProxyFacts:
        """:raises BadParameter, PrincipalForbidden: it is not the answer of a proxy of ours."""
        fields = Fields(value, "answer")
        ssh, auth = fields.child("proxy").child("ssh"), fields.child("auth")
        return cls(
            names.cluster_name(fields.text("cluster_name", max_chars=255)),
            auth.text("second_factor", default="otp", max_chars=32),
            _address(ssh, "public_addr"),
            _address(ssh, "ssh_public_addr"),
            ssh.text("listen_addr", default="", max_chars=300),
            fields.text("server_version", default="", max_chars=64),
            fields.text("min_client_version", default="", max_chars=64),
        )


def _address(fields: Fields, key: str) -> str:
    """An address in its usual form: it will stand in files that OpenSSH reads, where more than an address would do."""
    text = fields.text(key, default="", max_chars=300)
    try:
        return str(parse_address(text, 0)) if text else ""
    except ValueError:
        raise BadParameter(f"{fields.where}.{key} is {text[:64]!a}, which is no address.") from None


@frozen
class Wish:
    """What a login asks for: certificates over these public keys, an authorized_keys line and a PEM."""

    user: str
    ssh_key: str
    tls_key: str
    ttl_s: float = 0.0


@frozen
class SignedIn:
    """What a login answers: an SSH certificate as a line, a TLS certificate as PEM, and whom to believe.

    :ivar request_access: whether roles are to be asked for now: ``optional``, ``always`` or ``reason``, for which the
        person reads ``request_prompt``.
    """

    user: str
    ssh_certificate: str = field(repr=False)
    tls_certificate: str = field(repr=False)
    authorities: tuple[PublicAuthority, ...] = field(repr=False)
    request_access: str = "optional"
    request_prompt: str = ""

    @classmethod
    def from_json(cls, value: object) -> SignedIn:
        """:raises BadParameter: a part is missing, or is not what it should be."""
        fields = Fields(value, "answer")
        authorities = tuple(_authority(signer) for signer in fields.children("host_signers", MAX_AUTHORITIES))
        if not authorities:
            raise BadParameter(f"missing parameter {fields.where}.host_signers")
        user = fields.text("username", max_chars=255)
        certificates = public.unpacked(fields, "cert"), public.unpacked(fields, "tls_cert")
        access = fields.text("request_access", default="optional", max_chars=16)
        return cls(user, *certificates, authorities, access, fields.text("request_prompt", default="", max_chars=256))


def _authority(signer: Fields) -> PublicAuthority:
    lines = public.unpacked_all(signer, "checking_keys")
    cluster = signer.text("domain_name", max_chars=255)
    return PublicAuthority(
        "host", cluster, tuple(map(keys.blob_of_line, lines)), public.unpacked_all(signer, "tls_certs")
    )


class ProxyWeb:
    """Calls to one proxy. Errors are those that the proxy answered, as with the API of auth.

    :param address: ``host:port``.
    """

    def __init__(self, reactor: IReactorTime, address: str, policy: IClusterPolicy) -> None:
        self._host = split_address(address)[0]
        self._transport = Transport(reactor, [address], policy, TIMEOUT_S, PROXY)

    async def ping(self) -> ProxyFacts:
        return ProxyFacts.from_json(await self._call("GET", "/webapi/ping"))

    async def cacert(self) -> tuple[str, ...]:
        """PEMs of the host authority's certificates."""
        return items(await self._call("GET", "/webapi/cacert"), as_text)

    async def log_in(self, wish: Wish, credentials: Credentials) -> SignedIn:
        """Certificates for somebody who knows the password, and has the second factor.

        :raises TeleportError: what the proxy answers, which does not tell what of it was wrong.
        """
        body = {
            "user": wish.user,
            **credentials.to_json(),
            "pub_key": public.packed(wish.ssh_key),
            "tls_pub_key": public.packed(wish.tls_key),
            "ttl": round(wish.ttl_s * _NS),
        }
        return SignedIn.from_json(await self._call("POST", "/webapi/ssh/certs", body))

    async def close(self) -> None:
        """Ends the connections."""
        await self._transport.close()

    async def _call(self, method: str, path: str, body: object = None) -> object:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return await self._transport.call(Call(method, path, body=body, repeatable=method == "GET", host=host))


@frozen
class Verified:
    """A proxy that was verified, or taken for itself: how connections to it are, and what it says of itself."""

    policy: IClusterPolicy
    facts: ProxyFacts

    @property
    def is_verified(self) -> bool:
        return not isinstance(self.policy, UnverifiedPolicy)


async def verified(
    reactor: IReactorTime, address: str, pin: str = "", known: Sequence[str] = (), insecure: bool = False
) -> Verified:
    """Makes sure that a proxy is the one that is meant.

    :param pin: ``sha256:<hex>`` of the cluster's authority, or empty.
    :param known: PEMs of the authority that was verified before.
    :param insecure: whether a proxy is taken for itself that nothing else speaks for.
    :raises PinMalformed: before anything is sent.
    :raises PinMismatch: the cluster's authority is another.
    :raises CertificateRefused: the proxy cannot show that it is the one that is meant; the sentence says what to do.
    """
    if pin:
        known = await _pinned(reactor, address, pin)
    if known:
        return await _known(reactor, address, known)
    host = split_address(address)[0]
    try:
        return await _asked(reactor, address, PublicPolicy(host))
    except CertificateRefused:
        if insecure:
            return await _asked(reactor, address, UnverifiedPolicy(host))
        raise CertificateRefused(
            f"The proxy {address} cannot be verified: the certificate that it shows is not one that this computer"
            " trusts. Ask for the pin of the cluster, which 'tctl status' prints on the auth server, and log in with"
            " --ca-pin=sha256:..."
        ) from None


async def _known(reactor: IReactorTime, address: str, known: Sequence[str]) -> Verified:
    try:
        return await _asked(reactor, address, ServerPolicy(tuple(known), name=PROXY_SERVER_NAME))
    except CertificateRefused as reason:
        raise CertificateRefused(
            f"{reason.sentence} If the cluster was set up anew, log in with --ca-pin=sha256:..., which 'tctl status'"
            " prints on the auth server."
        ) from reason


async def _pinned(reactor: IReactorTime, address: str, pin: str) -> Sequence[str]:
    """The authority that the pin names, as the proxy shows it; nothing else is believed of that answer."""
    _check_form(pin)
    web = ProxyWeb(reactor, address, UnverifiedPolicy(PROXY_SERVER_NAME))
    try:
        shown = await web.cacert()
    finally:
        await web.close()
    if not 0 < len(shown) <= MAX_AUTHORITIES:
        raise ConnectionProblem(f"The proxy shows {len(shown)} authorities, where 1 to {MAX_AUTHORITIES} are due.")
    matching = keys.check_pin(pin, [load_certificate_pem(pem) for pem in shown])
    return [pem for pem in shown if load_certificate_pem(pem) == matching]


def _check_form(pin: str) -> None:
    try:
        keys.check_pin(pin, ())
    except PinMismatch:
        return  # of a pin that is well-formed


async def _asked(reactor: IReactorTime, address: str, policy: IClusterPolicy) -> Verified:
    web = ProxyWeb(reactor, address, policy)
    try:
        return Verified(policy, await web.ping())
    finally:
        await web.close()
