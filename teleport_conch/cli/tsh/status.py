"""``tsh status``: who is logged in where, as what, and until when."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence

from teleport_conch.certs.certificate import SSHCertificate
from teleport_conch.certs.extensions import requests_of, roles_of, says_roles, traits_of
from teleport_conch.cli.colour import GREEN, RED, YELLOW, painted
from teleport_conch.cli.instants import moment, rfc3339, span
from teleport_conch.cli.table import inert
from teleport_conch.cli.tsh import places
from teleport_conch.client.profiles import Home, Profile
from teleport_conch.errors import TeleportError, UnsafePath

_NO_LOGIN = "-teleport-nologin-"
SOON_S = 3600.0
"""With less left than this, in seconds, a login ends soon."""
Found = tuple[Profile, SSHCertificate]
"""A login, as far as it is shown."""


def status(arguments: Namespace) -> None:
    """The command. Exits with 1 where nobody is logged in."""
    now = time.time()
    found, current = _of_identity(arguments) if arguments.identity is not None else _of_home(places.home())
    found = [each for each in found if places.is_meant(arguments, each[0])]
    if arguments.format == "json":
        import json

        print(json.dumps([_as_json(*each, now) for each in found], indent=2))
    elif found:
        _show(found, current, now, arguments.debug)
    else:
        print(_nobody(arguments))
    if not found:
        sys.exit(1)


def show(home: Home, now: float) -> None:
    """Prints all profiles, the current one first and with a mark.

    :param now: POSIX seconds.
    """
    _show(*_of_home(home), now)


def _show(found: Sequence[Found], current: str, now: float, at_length: bool = False) -> None:
    for profile, certificate in found:
        print(_text(profile, certificate, profile.proxy_host == current, now, at_length))


def _nobody(arguments: Namespace) -> str:
    named = ((" at ", arguments.proxy), (" as ", arguments.user), (" to ", arguments.cluster))
    return f"Not logged in{''.join(word + inert(name[:128]) for word, name in named if name)}."


def _of_home(home: Home) -> tuple[Sequence[Found], str]:
    """All logins that are kept, and the host of the proxy that is the current one."""
    shown = ((profile, _certificate(home, profile)) for profile in home.profiles())
    return [(profile, certificate) for profile, certificate in shown if certificate is not None], home.current()


def _of_identity(arguments: Namespace) -> tuple[Sequence[Found], str]:
    """The one login of an identity file, as if it were kept."""
    from teleport_conch.cli.tsh import identity  # loads what reads keys

    login = identity.login_in(arguments)
    return [(login.profile, login.certificate)], login.profile.proxy_host


def _certificate(home: Home, profile: Profile) -> SSHCertificate | None:
    """What there is to say of a login: both of its certificates say the same, and end at the same second."""
    try:
        return home.shown(profile)
    except UnsafePath:
        raise  # somebody else may have written it
    except TeleportError:
        return None


def _logins(certificate: SSHCertificate) -> tuple[str, ...]:
    return tuple(login for login in certificate.principals if not login.startswith(_NO_LOGIN))


def _text(profile: Profile, certificate: SSHCertificate, current: bool, now: float, at_length: bool) -> str:
    end = float(certificate.valid_before)
    rows = (
        ("Profile URL:", inert(f"https://{profile.web_proxy_addr}")),
        ("Logged in as:", inert(certificate.key_id)),
        ("Cluster:", inert(profile.cluster)),
        ("Roles:", _roles(certificate)),
        *_requests(certificate),
        *(_traits(certificate) if at_length and says_roles(certificate) else ()),
        ("Logins:", _listed(_logins(certificate)) or "none"),
        ("Valid until:", f"{moment(end)} {left(end - now)}"),
        ("Extensions:", _listed(sorted(_extensions(certificate)))),
    )
    marks = (">" if current else " ", *(" " for _ in rows[1:]))
    lines = (f"{mark} {name:<13} {value}" for mark, (name, value) in zip(marks, rows, strict=True))
    return "\n".join(lines) + "\n"


def _listed(names: Iterable[str]) -> str:
    return inert(", ".join(names))


def _roles(certificate: SSHCertificate) -> str:
    """A certificate for old programs names none (cert_format of a role), and is good for all of them."""
    if not says_roles(certificate):
        return "all of the user's (the certificate names none)"
    return _listed(roles_of(certificate)) or "none"


def left(seconds: float) -> str:
    """How long a login is good still, in the colour of that."""
    if seconds <= 0:
        return painted("[EXPIRED]", RED)
    return painted(f"[valid for {span(seconds)}]", GREEN if seconds >= SOON_S else YELLOW)


def _requests(certificate: SSHCertificate) -> list[tuple[str, str]]:
    """What lent some of the roles, and may have been removed since."""
    found = requests_of(certificate)
    return [("Requests:", _listed(found))] if found else []


def _traits(certificate: SSHCertificate) -> list[tuple[str, str]]:
    found = traits_of(certificate)
    return [("Traits:", _listed(f"{name}={value}" for name, values in found.items() for value in values) or "none")]


def _extensions(certificate: SSHCertificate) -> list[str]:
    return [name for name, _ in certificate.extensions if name.startswith("permit-")]


def _as_json(profile: Profile, certificate: SSHCertificate, now: float) -> dict[str, object]:
    return {
        "profile_url": f"https://{profile.web_proxy_addr}",
        "user": certificate.key_id,
        "cluster": profile.cluster,
        "roles": list(roles_of(certificate)) if says_roles(certificate) else None,
        "active_requests": list(requests_of(certificate)),
        "logins": list(_logins(certificate)),
        "valid_until": rfc3339(float(certificate.valid_before)),
        "expired": certificate.valid_before <= now,
        "extensions": _extensions(certificate),
    }
