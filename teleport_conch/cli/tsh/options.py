"""``-o KEY=VALUE`` where there is no OpenSSH: what our own client does of it, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from teleport_conch.errors import BadParameter

_YES_OR_NO = ("yes", "no")
_TERMINAL = ("yes", "no", "force", "auto")
_HONOURED = {
    "AddKeysToAgent": _YES_OR_NO,
    "ForwardAgent": _YES_OR_NO,
    "RequestTTY": _TERMINAL,
    "StrictHostKeyChecking": ("yes",),
}
#: The other options of ssh_config(5), which change nothing here.
_KNOWN = """
    AddressFamily BatchMode BindAddress BindInterface CanonicalDomains CanonicalizeFallbackLocal CanonicalizeHostname
    CanonicalizeMaxDots CanonicalizePermittedCNAMEs CASignatureAlgorithms CertificateFile ChannelTimeout
    CheckHostIP Ciphers ClearAllForwardings Compression ConnectionAttempts ConnectTimeout ControlMaster ControlPath
    ControlPersist DynamicForward EnableEscapeCommandline EnableSSHKeysign EscapeChar ExitOnForwardFailure
    FingerprintHash ForkAfterAuthentication ForwardX11 ForwardX11Timeout ForwardX11Trusted GatewayPorts
    GlobalKnownHostsFile GSSAPIAuthentication GSSAPIDelegateCredentials HashKnownHosts Host
    HostbasedAcceptedAlgorithms HostbasedAuthentication HostKeyAlgorithms HostKeyAlias Hostname IdentitiesOnly
    IdentityAgent IdentityFile IgnoreUnknown Include IPQoS KbdInteractiveAuthentication KbdInteractiveDevices
    KexAlgorithms KnownHostsCommand LocalCommand LocalForward LogLevel LogVerbose MACs Match
    NoHostAuthenticationForLocalhost NumberOfPasswordPrompts ObscureKeystrokeTiming PasswordAuthentication
    PermitLocalCommand PermitRemoteOpen PKCS11Provider Port PreferredAuthentications ProxyCommand ProxyJump
    ProxyUseFdpass PubkeyAcceptedAlgorithms PubkeyAuthentication RekeyLimit RemoteCommand RemoteForward
    RequiredRSASize RevokedHostKeys SecurityKeyProvider SendEnv ServerAliveCountMax ServerAliveInterval SessionType
    SetEnv StdinNull StreamLocalBindMask StreamLocalBindUnlink SyslogFacility Tag TCPKeepAlive Tunnel TunnelDevice
    UpdateHostKeys User UserKnownHostsFile VerifyHostKeyDNS VersionAddendum VisualHostKey WarnWeakCrypto
    XAuthLocation
"""
_NAMES = {name.lower(): name for name in (*_HONOURED, *_KNOWN.split())}
MAX_SHOWN_CHARS = 64


@frozen
class Options:
    """What the options say; an empty text where they say nothing.

    :ivar terminal: ``yes``, ``no``, ``force`` or ``auto``.
    """

    terminal: str = ""
    forwards_agent: str = ""
    adds_keys: str = ""

    def words(self) -> list[str]:
        """The same for a further ``tsh``, which connects to a node with them."""
        told = {"RequestTTY": self.terminal, "ForwardAgent": self.forwards_agent}
        return [word for name, value in told.items() if value for word in ("-o", f"{name}={value}")]


def parse_options(texts: Sequence[str], warn: Callable[[str], object]) -> Options:
    """Reads what stood behind ``-o``. The first of several with one name counts, as with OpenSSH.

    :param warn: takes a line for each option that is not supported.
    :raises BadParameter: there is no such option, or it has another value than it may have.
    """
    found = dict[str, str]()
    for text in texts:
        name, value = _split(text)
        if name in _HONOURED:
            found.setdefault(name, _checked(name, value))
        else:
            warn(f"Option '{name}' is not supported here.\n")
    return Options(found.get("RequestTTY", ""), found.get("ForwardAgent", ""), found.get("AddKeysToAgent", ""))


def _split(text: str) -> tuple[str, str]:
    """``Key=Value``, or ``Key Value``; names are known in any case of their letters."""
    words = text.replace("=", " ", 1).split(None, 1)
    name = _NAMES.get(words[0].lower()) if words else None
    if name is None:
        raise BadParameter(f"{text[:MAX_SHOWN_CHARS]!a} is no option of OpenSSH: write -o Key=Value.")
    return name, words[1].strip().strip('"') if len(words) > 1 else ""


def _checked(name: str, value: str) -> str:
    if value.lower() in _HONOURED[name]:
        return value.lower()
    if name == "StrictHostKeyChecking":
        raise BadParameter(
            "StrictHostKeyChecking is 'yes' here, and nothing else: hosts are always verified by the authority of the"
            " cluster."
        )
    raise BadParameter(f"{name} is one of {', '.join(_HONOURED[name])} here, and not {value[:MAX_SHOWN_CHARS]!a}.")
