"""A copy of all that an auth server cannot do without, in one sealed file; and an auth server made of it.

The file holds the database, the host's UUID and the identities of the services on this host. It is a tar archive inside
(:mod:`~teleport_conch.auth.state.sealing` says how it is sealed)::

    manifest.json        {"version": 1, "cluster_name": ..., "created": POSIX seconds, "program": version}
    sqlite.db            the database as of one moment
    host_uuid, ca.cert, identities/*.json

Since the authorities' keys are in the database, nodes, certificates and lines of known_hosts go on working with the
server that it is restored on. The log of events is not in it, and of recordings no more than the list of them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

from attrs import frozen

from teleport_conch.audit.log import EventLog
from teleport_conch.auth.founding import database_of, events_of
from teleport_conch.auth.offline import LogWriter
from teleport_conch.auth.routes.calls import LOCAL_ADMIN
from teleport_conch.auth.state import configuration
from teleport_conch.auth.state.sealing import Sealer, Unsealer, check_passphrase
from teleport_conch.auth.state.storing import decode
from teleport_conch.client.identity_store import IdentityStore
from teleport_conch.config.paths import DATABASE
from teleport_conch.config.settings import Settings
from teleport_conch.errors import AlreadyExists, BadParameter, StartError, StorageError
from teleport_conch.resources.cluster import ClusterName
from teleport_conch.resources.fields import Fields
from teleport_conch.starting import Reactor
from teleport_conch.storage.files import create_private, sync
from teleport_conch.storage.sqlite import SQLiteBackend
from teleport_conch.storage.writer import ThreadedReactor
from teleport_conch.version import VERSION

VERSION_OF_CONTENTS = 1
MANIFEST = "manifest.json"
MAX_SMALL_FILE_BYTES = 1 << 20
MAX_MEMBERS = 64
COPIED_BYTES = 1 << 20
_MODES = {"host_uuid": 0o400}


@frozen
class RestoredFrom:
    """What a backup was made of, and when (POSIX seconds)."""

    cluster_name: str
    created_at: float


async def backup(reactor: Reactor, settings: Settings, file: Path, passphrase: str) -> None:
    """Write a backup, beside a running service or without one.

    :param file: is made with mode 0600, and is there only when it is whole, and the event of it in the log.
    :raises AlreadyExists: there is such a file.
    :raises StartError: there is no cluster on this host.
    :raises StorageError: the disk is full, or cannot be written.
    :raises BadParameter: the passphrase is too short.
    """
    check_passphrase(passphrase)
    if file.exists():
        raise AlreadyExists(f"There is a file {file} already; choose another name for the backup.")
    database = database_of(settings)
    if not database.exists():
        raise StartError(f"There is nothing to back up: {database} does not exist.")
    host_uuid = IdentityStore(settings.teleport.data_dir, os.urandom).host_uuid()
    log = EventLog(events_of(settings, host_uuid), reactor)
    emit = LogWriter(log, host_uuid, settings.teleport.nodename)

    def tell() -> None:
        emit("backup.create", {"user": LOCAL_ADMIN, "message": f"to {file.absolute()}"})

    backend = await SQLiteBackend.open(cast(ThreadedReactor, reactor), database, lock=False)
    folder = Path(mkdtemp(prefix=".backup-", dir=settings.teleport.data_dir))
    try:
        name = ClusterName.from_json(decode(await backend.get(configuration.NAME)))
        await backend.snapshot_to(folder / DATABASE)
        with _writing(file):
            _write(file, passphrase, _manifest(name.cluster_name), _parts(folder, settings.teleport.data_dir), tell)
    finally:
        log.close()
        shutil.rmtree(folder, ignore_errors=True)
        await backend.close()


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as reason:
        raise StorageError(f"The backup {file} cannot be written: {reason.strerror}.") from None


def _manifest(cluster_name: str) -> bytes:
    manifest = {"cluster_name": cluster_name, "created": time.time(), "program": VERSION}
    return json.dumps({"version": VERSION_OF_CONTENTS, **manifest}).encode()


def _parts(snapshot: Path, data_dir: Path) -> Iterator[tuple[str, Path]]:
    yield DATABASE, snapshot / DATABASE
    for name in ("host_uuid", "ca.cert"):
        if (data_dir / name).is_file():
            yield name, data_dir / name
    for path in sorted((data_dir / "identities").glob("*.json")):
        if not path.name.startswith("."):
            yield f"identities/{path.name}", path


def _write(
    file: Path, passphrase: str, manifest: bytes, parts: Iterator[tuple[str, Path]], tell: Callable[[], None]
) -> None:
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    create_private(part)
    try:
        with part.open("r+b") as target:
            with closing(Sealer(target, passphrase, os.urandom)) as sealer:
                _archive(sealer, manifest, parts)
            target.flush()
            os.fsync(target.fileno())
        tell()
        part.rename(file)
        sync(file.parent)
    finally:
        part.unlink(missing_ok=True)


def _archive(sealer: Sealer, manifest: bytes, parts: Iterator[tuple[str, Path]]) -> None:
    with tarfile.open(mode="w|", fileobj=cast(io.BytesIO, sealer), format=tarfile.PAX_FORMAT) as archive:
        about = tarfile.TarInfo(MANIFEST)
        about.size = len(manifest)
        archive.addfile(about, io.BytesIO(manifest))
        for name, path in parts:
            with path.open("rb") as source:
                member = tarfile.TarInfo(name)
                member.size = os.fstat(source.fileno()).st_size
                archive.addfile(member, source)


def restore(file: Path, passphrase: str, data_dir: Path) -> RestoredFrom:
    """Make the ``data_dir`` of an auth server out of a backup.

    What root restores belongs to the owner of ``data_dir`` afterwards.

    :param data_dir: missing or empty; at a refusal it is left as it was.
    :raises AlreadyExists: something is in it.
    :raises BadParameter: the file is no backup, is damaged or newer, or the passphrase is wrong.
    :raises StorageError: the disk is full, or cannot be written.
    """
    made = not data_dir.exists()
    if not made and any(data_dir.iterdir()):
        raise AlreadyExists(f"{data_dir} is not empty. A backup is restored into an empty data_dir only: name another.")
    try:
        with file.open("rb") as source:
            unsealer = Unsealer(source, passphrase)
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _all_or_nothing(data_dir, made):
                return _unpack(unsealer, data_dir)
    except OSError as reason:
        raise StorageError(f"The backup {file} cannot be restored: {reason.strerror}: {reason.filename}.") from None


@contextmanager
def _all_or_nothing(data_dir: Path, made: bool) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in data_dir.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if made:
            data_dir.rmdir()
        raise


def _unpack(unsealer: Unsealer, data_dir: Path) -> RestoredFrom:
    found: RestoredFrom | None = None
    try:
        with tarfile.open(mode="r|", fileobj=cast(io.BytesIO, unsealer)) as archive:
            for count, member in enumerate(archive):
                source = archive.extractfile(member) if member.isfile() else None
                if source is None or count >= MAX_MEMBERS:
                    raise BadParameter("The backup holds something that no backup holds.")
                if found is None:
                    found = _read_manifest(member.name, source.read(MAX_SMALL_FILE_BYTES))
                else:
                    _put(_place(data_dir, member.name), source.read)
    except (tarfile.TarError, ValueError):
        raise BadParameter("The backup is damaged.") from None
    while unsealer.read(COPIED_BYTES):
        pass  # the archive's padding; at its end it is certain that the file is whole
    if found is None or not (data_dir / "backend" / DATABASE).exists():
        raise BadParameter("The backup is not complete: the database is missing.")
    return found


def _read_manifest(name: str, text: bytes) -> RestoredFrom:
    try:
        fields = Fields(json.loads(text) if name == MANIFEST else None, "manifest")
        if fields.number("version") > VERSION_OF_CONTENTS:
            raise BadParameter("The backup was made by a newer version of this program; use that one.")
        return RestoredFrom(fields.text("cluster_name", max_chars=255), fields.number("created"))
    except (ValueError, RecursionError):
        raise BadParameter("The backup says nothing of itself that can be read.") from None


def _place(data_dir: Path, name: str) -> Path:
    """Where a part belongs. Names are not taken for paths."""
    folder, _, last = name.rpartition("/")
    if name == DATABASE:
        return data_dir / "backend" / DATABASE
    if name in ("host_uuid", "ca.cert"):
        return data_dir / name
    if folder == "identities" and last.endswith(".json") and not last.startswith("."):
        return data_dir / folder / last
    raise BadParameter(f"The backup holds something that no backup holds: {name[:64]!a}.")


def _put(path: Path, read: Callable[[int], bytes]) -> None:
    """A new file of mode 0600, or what its name asks for; its folder 0700; both of the owner of data_dir."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700)
        _give(path.parent, path.parent.parent)
    create_private(path)
    with path.open("r+b") as target:
        while data := read(COPIED_BYTES):
            target.write(data)
        target.flush()
        os.fsync(target.fileno())
    path.chmod(_MODES.get(path.name, 0o600))


def _give(path: Path, like: Path) -> None:
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
