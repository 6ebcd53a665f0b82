"""The web certificate of the proxy: from files that others renew, or a pair of its own that nobody vouches for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field, frozen
from OpenSSL import SSL
from twisted.logger import Logger

from teleport_conch.certs.serving import ServingPair, read_pair, self_signed_pair
from teleport_conch.client import private_files
from teleport_conch.errors import StartError, TeleportError
from teleport_conch.https.tls import server_context

LOOK_S = 10.0
"""Between two looks whether the files have changed."""
OWN_CERTIFICATE, OWN_KEY = "webproxy_cert.pem", "webproxy_key.pem"
_SERIAL_BYTES = 16

_State = tuple[tuple[int, int, int], ...]


class WebCertificateRefused(StartError):
    """The files of the web certificate cannot be used."""

    code = "WEB_CERTIFICATE"


@frozen
class Files:
    """Where a pair is, as the configuration has it."""

    certificate: Path
    key: Path

    def state(self) -> _State:
        """What changes when somebody writes one of the files, or puts another in its place."""
        return tuple(_state(path) for path in (self.certificate, self.key))

    def read(self) -> ServingPair:
        """:raises WebCertificateRefused: they cannot be used; the sentence names the file."""
        key = _read(self.key, secret=True)
        try:
            return read_pair(_read(self.certificate), key)
        except WebCertificateRefused:
            raise
        except TeleportError as reason:
            what = f"https_cert_file {self.certificate} and https_key_file {self.key}"
            raise WebCertificateRefused(f"{what} cannot be used: {reason.sentence.rstrip('.')}.") from reason


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path, secret: bool = False) -> str:
    name = "https_key_file" if secret else "https_cert_file"
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(private_files.MAX_FILE_BYTES + 1)
    except OSError as reason:
        raise WebCertificateRefused(f"{name} {path} cannot be read: {reason.strerror}.") from None
    if secret and mode & 0o007:
        raise WebCertificateRefused(f"Anybody on this host can read {name} {path}. Run: chmod o= {path}")
    if len(data) > private_files.MAX_FILE_BYTES:
        raise WebCertificateRefused(f"{name} {path} is larger than {private_files.MAX_FILE_BYTES >> 20} MiB.")
    return data.decode("utf-8", "replace")


@define(eq=False)
class WebCertificate:
    """What browsers are shown; :attr:`context` is of the newest pair that is any good.

    :ivar hosts: under which people reach the web port; the first is the canonical one.
    """

    _files: Files | None
    _data_dir: Path
    hosts: Sequence[str]
    _wall: Callable[[], float]
    context: SSL.Context = field(init=False)
    _seen: _State = field(init=False, default=())
    _log = Logger()

    def load(self) -> None:
        """The pair to start with.

        :raises WebCertificateRefused: the files are no good.
        """
        if self._files is None:
            self._use(self._own())
            self._log.warn(
                "The web certificate is self-signed, and browsers warn of it. Set proxy_service.https_cert_file and"
                " https_key_file."
            )
            return
        self._seen = self._files.state()
        pair = self._files.read()
        if not pair.is_valid_at(self._wall()):
            self._log.warn("The web certificate {path} is not valid at this time.", path=str(self._files.certificate))
        self._use(pair)
        self._say_what_is_odd(pair)

    def look(self) -> None:
        """Take a pair that has changed. One that is no good is not taken, and the log says so, once for each change."""
        if self._files is None or (state := self._files.state()) == self._seen:
            return
        self._seen = state
        try:
            pair = self._files.read()
            if not pair.is_valid_at(self._wall()):
                raise WebCertificateRefused(f"https_cert_file {self._files.certificate} is not valid at this time.")
        except WebCertificateRefused as reason:
            self._log.error("The web certificate stays the old one: {why}", why=reason.sentence)
            return
        self._use(pair)
        until = pair.chain[0].not_valid_after_utc
        self._log.info("There is a new web certificate, valid until {until:%Y-%m-%d %H:%M} UTC.", until=until)
        self._say_what_is_odd(pair)

    def _use(self, pair: ServingPair) -> None:
        self.context = server_context(pair.chain, pair.key)

    def _say_what_is_odd(self, pair: ServingPair) -> None:
        if pair.self_signed:
            self._log.warn("The web certificate is self-signed, and browsers warn of it.")
        for host in self.hosts[:1]:
            if not pair.names(host):
                self._log.warn("The web certificate is not for {host}, under which people reach the proxy.", host=host)

    # The pair of our own.

    def _own(self) -> ServingPair:
        certificate, key = self._data_dir / OWN_CERTIFICATE, self._data_dir / OWN_KEY
        kept = _kept(certificate, key)
        if kept is not None and kept.is_valid_at(self._wall()) and all(map(kept.names, self.hosts)):
            return kept
        made = self_signed_pair(self.hosts, int.from_bytes(os.urandom(_SERIAL_BYTES), "big") >> 1, self._wall())
        certificates, private = made.pems()
        private_files.write(key, private)
        private_files.write(certificate, certificates, 0o644)
        return made


def _kept(certificate: Path, key: Path) -> ServingPair | None:
    """The pair of an earlier start; one that cannot be used is as good as none."""
    try:
        private = private_files.read(key)
        return None if private is None else read_pair(certificate.read_text(), private)
    except (TeleportError, OSError, ValueError):
        return None
