"""The part of ``tctl``'s command line that is about authorities and certificates."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from teleport_conch.cli import arguments as parsing
from teleport_conch.cli.arguments import Parsers, leaf, unbuilt

#: Commands of Teleport's that are missing here, with what there is in their place.
UNBUILT_OF_AUTH: Mapping[str, str] = {"rotate": "authorities keep their keys."}

_EXPORT = """\
Print the authorities of the cluster, without their private keys.

  --type=host   lines for known_hosts: the authority of all hosts of the cluster
  --type=user   lines for authorized_keys; without the first word also for sshd's TrustedUserCAKeys
  --type=tls    certificates of the host authority, in PEM form
"""
_SIGN = """\
Make a key and a certificate for it, for a person or for a host that runs OpenSSH's sshd.

  --format=file      all in one file, for 'tctl -i' (people only)
  --format=openssh   F and F-cert.pub, for ssh and sshd
  --format=tls       F.key, F.crt and F.cas (people only)
"""


def auth(parsers: Parsers) -> None:
    """``tctl auth``."""
    text = "Print the authorities, for known_hosts, sshd and TLS programs."
    export = leaf(parsers, "export", text, example="tctl auth export --type=host >> ~/.ssh/known_hosts")
    export.description = _EXPORT
    export.set_defaults(run="export.export", offline=True)
    export.add_argument("--type", choices=("user", "host", "tls"), help="one of them in place of user and host")
    export.add_argument("--fingerprint", metavar="SHA256:...", help="only the key with this fingerprint")
    _sign(parsers)
    for name, why in UNBUILT_OF_AUTH.items():
        unbuilt(parsers, name, why)


def _sign(parsers: Parsers) -> None:
    text = "Make a key and a certificate, for a person or for a host that runs sshd."
    example = "tctl auth sign --user=alice --logins=root,ubuntu --format=openssh --out=alice"
    sign = leaf(parsers, "sign", text, example=example)
    sign.description = _SIGN
    sign.set_defaults(run="sign.sign", offline=True, check=_check_sign)
    whose = sign.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", metavar="NAME", help="a person, as events will name them")
    whose.add_argument("--host", type=parsing.names, metavar="A,B", help="names and addresses of a host")
    sign.add_argument("--logins", type=parsing.names, metavar="A,B", help="accounts (those of the stored user)")
    sign.add_argument("--roles", type=parsing.names, metavar="A,B", help="roles (those of the stored user)")
    sign.add_argument("-o", "--out", type=Path, required=True, metavar="F", help="the file, or how its name begins")
    forms = "form of the files (file; for a host openssh)"
    sign.add_argument("--format", dest="form", choices=("file", "openssh", "tls"), help=forms)
    where = "addresses and networks from which it may be used (everywhere)"
    sign.add_argument("--source-address", dest="addresses", type=parsing.names, metavar="CIDR,...", help=where)
    sign.add_argument("--ttl", type=parsing.time_to_live, metavar="12h", help="how long it is good, in any case")
    sign.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _check_sign(arguments: Namespace) -> str | None:
    if arguments.host and (arguments.logins or arguments.roles):
        return "A host has no logins and no roles: leave --logins and --roles out."
    if arguments.host and arguments.addresses:
        return "A host's certificate is good wherever the host is: leave --source-address out."
    if arguments.host and arguments.form not in (None, "openssh"):
        return f"A host's certificate is for sshd: --host goes with --format=openssh, and not with {arguments.form}."
    return None
