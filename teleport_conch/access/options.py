"""The options of a role: what a session may do and how long, once it is allowed at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen
from attrs.validators import ge, gt, in_

from teleport_conch.durations import format_duration, parse_duration
from teleport_conch.errors import BadParameter
from teleport_conch.resources.fields import Fields

DEFAULT_MAX_SESSION_TTL_S = 30 * 3600.0
CERT_FORMATS = ("standard", "oldssh")
"""``oldssh`` leaves out what servers before OpenSSH 7.2 do not read: the roles and traits in the certificate."""

REQUEST_ACCESS = ("optional", "always", "reason")
"""Whether a login asks for roles: if wanted, in any case, or in any case and with a reason. Of several the last counts,
so that no order of roles matters."""

_NEVER = "never"
ENHANCED_RECORDING = ("command", "disk", "network")
"""Of a session's processes: the programs that run, the files that are opened, the connections that are made."""
_KNOWN = {
    "max_session_ttl",
    "cert_format",
    "forward_agent",
    "port_forwarding",
    "permit_x11_forwarding",
    "client_idle_timeout",
    "disconnect_expired_cert",
    "enhanced_recording",
    "max_connections",
    "max_sessions",
    "pin_source_ip",
    "request_access",
    "request_prompt",
}
MAX_PROMPT_CHARS = 256
_NO_KEYS: Mapping[str, tuple[object, ...]] = {}


@frozen
class Options:
    """Durations are seconds. 0 means no limit for the idle timeout, the connections and the sessions.

    ``max_connections`` counts a user's connections to nodes, ``max_sessions`` the sessions in one of them.

    :param enhanced_recording: some of :data:`ENHANCED_RECORDING`, sorted; it counts on nodes that can record these.
    :param cert_format: one of :data:`CERT_FORMATS`.
    :param pin_source_ip: whether certificates are good from the address only that asked for them.
    :param request_access: one of :data:`REQUEST_ACCESS`; ``tsh login`` goes by it.
    :param request_prompt: what somebody reads who has to give a reason.
    """

    max_session_ttl_s: float = field(default=DEFAULT_MAX_SESSION_TTL_S, validator=gt(0))
    forward_agent: bool = False
    port_forwarding: bool = True
    permit_x11_forwarding: bool = False
    client_idle_timeout_s: float = field(default=0.0, validator=ge(0))
    disconnect_expired_cert: bool = False
    max_connections: int = field(default=0, validator=ge(0))
    max_sessions: int = field(default=0, validator=ge(0))
    cert_format: str = field(default=CERT_FORMATS[0], validator=in_(CERT_FORMATS))
    pin_source_ip: bool = False
    request_access: str = field(default=REQUEST_ACCESS[0], validator=in_(REQUEST_ACCESS))
    request_prompt: str = ""
    enhanced_recording: tuple[str, ...] = ("command", "network")

    def to_json(self) -> dict[str, object]:
        asking = {"request_access": self.request_access} if self.request_access != REQUEST_ACCESS[0] else {}
        prompt = {"request_prompt": self.request_prompt} if self.request_prompt else {}
        return {
            "max_session_ttl": format_duration(self.max_session_ttl_s),
            "forward_agent": self.forward_agent,
            "port_forwarding": self.port_forwarding,
            "permit_x11_forwarding": self.permit_x11_forwarding,
            "client_idle_timeout": format_duration(self.client_idle_timeout_s)
            if self.client_idle_timeout_s
            else _NEVER,
            "disconnect_expired_cert": self.disconnect_expired_cert,
            "enhanced_recording": list(self.enhanced_recording),
            "max_connections": self.max_connections,
            "max_sessions": self.max_sessions,
            "cert_format": self.cert_format,
            "pin_source_ip": self.pin_source_ip,
            **asking,
            **prompt,
        }

    @classmethod
    def from_json(cls, fields: Fields) -> Options:
        """:raises BadParameter: an unknown option, or a value that is none."""
        check_keys(fields, _KNOWN)
        usual = cls()
        return cls(
            max_session_ttl_s=_duration(fields, "max_session_ttl", usual.max_session_ttl_s, least=1.0),
            forward_agent=fields.boolean("forward_agent", usual.forward_agent),
            port_forwarding=fields.boolean("port_forwarding", usual.port_forwarding),
            permit_x11_forwarding=fields.boolean("permit_x11_forwarding", usual.permit_x11_forwarding),
            client_idle_timeout_s=_duration(fields, "client_idle_timeout", usual.client_idle_timeout_s),
            disconnect_expired_cert=fields.boolean("disconnect_expired_cert", usual.disconnect_expired_cert),
            enhanced_recording=_recorded(fields, "enhanced_recording", usual.enhanced_recording),
            max_connections=_count(fields, "max_connections"),
            max_sessions=_count(fields, "max_sessions"),
            cert_format=_one_of(fields, "cert_format", CERT_FORMATS),
            pin_source_ip=fields.boolean("pin_source_ip", usual.pin_source_ip),
            request_access=_one_of(fields, "request_access", REQUEST_ACCESS),
            request_prompt=fields.text("request_prompt", default="", max_chars=MAX_PROMPT_CHARS),
        )


def check_keys(fields: Fields, known: Iterable[str], nothing: Mapping[str, tuple[object, ...]] = _NO_KEYS) -> None:
    """Refuse what is not in ``known``; a key of ``nothing`` may be there with a value that asks for nothing.

    :raises BadParameter: it names the key.
    """
    for key, value in fields.raw().items():
        if key in nothing:
            if value is not None and value not in nothing[key]:
                raise BadParameter(f"{fields.where}.{key} has one value here, the usual one; leave it out.")
        elif key not in known:
            raise BadParameter(f"{fields.where}.{key[:64]!a} is not known.")


def _one_of(fields: Fields, key: str, known: tuple[str, ...]) -> str:
    found = fields.text(key, default="") or known[0]
    if found not in known:
        raise BadParameter(f"{fields.where}.{key} has to be one of {', '.join(known)}.")
    return found


def _recorded(fields: Fields, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if fields.raw().get(key) is None:
        return default
    found = fields.texts(key, max_items=16)
    for each in found:
        if each not in ENHANCED_RECORDING:
            raise BadParameter(f"{fields.where}.{key} may list {', '.join(ENHANCED_RECORDING)}, and not {each[:32]!a}.")
    return tuple(sorted(set(found)))


def _duration(fields: Fields, key: str, default: float, least: float = 0.0) -> float:
    text = fields.text(key, default="")
    if not text:
        return default
    try:
        seconds = 0.0 if text == _NEVER else parse_duration(text)
    except ValueError as error:
        raise BadParameter(f"{fields.where}.{key}: {error}.") from None
    if seconds < least:
        raise BadParameter(f"{fields.where}.{key} has to be at least {least:g}s.")
    return seconds


def _count(fields: Fields, key: str) -> int:
    number = fields.number(key, default=0.0)
    if number < 0 or not number.is_integer():
        raise BadParameter(f"{fields.where}.{key} has to be a whole number, and 0 means no limit.")
    return int(number)


def combine(options: Iterable[Options]) -> Options:
    """What holds for somebody who has several roles: the shortest time, the lowest limit, any permission, any pin.

    What any of the roles wants recorded is recorded. Nobody without a role gets anything, so of no options the
    combination permits nothing.
    """
    every = tuple(options)
    return Options(
        max_session_ttl_s=min((each.max_session_ttl_s for each in every), default=DEFAULT_MAX_SESSION_TTL_S),
        forward_agent=any(each.forward_agent for each in every),
        port_forwarding=any(each.port_forwarding for each in every),
        permit_x11_forwarding=any(each.permit_x11_forwarding for each in every),
        client_idle_timeout_s=min(
            (each.client_idle_timeout_s for each in every if each.client_idle_timeout_s), default=0.0
        ),
        disconnect_expired_cert=any(each.disconnect_expired_cert for each in every),
        enhanced_recording=tuple(sorted({kind for each in every for kind in each.enhanced_recording})),
        max_connections=min((each.max_connections for each in every if each.max_connections), default=0),
        max_sessions=min((each.max_sessions for each in every if each.max_sessions), default=0),
        cert_format=CERT_FORMATS[any(each.cert_format != CERT_FORMATS[0] for each in every)],
        pin_source_ip=any(each.pin_source_ip for each in every),
        request_access=REQUEST_ACCESS[max((REQUEST_ACCESS.index(each.request_access) for each in every), default=0)],
        request_prompt=min((each.request_prompt for each in every if each.request_prompt), default=""),
    )
