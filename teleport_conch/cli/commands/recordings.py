"""``tctl recordings``: recorded sessions, on auth and in files."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from teleport_conch.audit.tape import PIECE_BYTES
from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.instants import moment
from teleport_conch.cli.listing_options import MAX_LISTED
from teleport_conch.cli.recording_check import Check
from teleport_conch.cli.recordings import FILE_END, check_head, new_file, session_id, size_text
from teleport_conch.cli.table import headless, inert
from teleport_conch.cli.views import recording_table
from teleport_conch.client.recordings import Recordings
from teleport_conch.errors import BadParameter, InUse, NotFound
from teleport_conch.resources.recording import Recording, RecordingState


async def listing(connection: Connection, arguments: Namespace) -> Answer:
    found = await connection.client.recordings.all(
        from_=arguments.start, to=arguments.end, user=arguments.of, node=arguments.node, limit=arguments.limit
    )
    values = [each.to_json() for each in found]
    return Answer(lambda: recording_table(found) if found else "No recordings found.\n", values)


async def show(connection: Connection, arguments: Namespace) -> Answer:
    """All of it is read: that is how it is known whether its slices follow one another."""
    wanted, calls = session_id(arguments.session), connection.client.recordings
    recording = await calls.get(wanted)
    check = await _checked(calls, wanted)
    check_head(recording, check.head)
    value = {**recording.to_json(), "verified": check.to_json()}
    return Answer(lambda: headless([*_known(recording), *check.of_chain()]), value)


def _known(recording: Recording) -> Sequence[tuple[str, str]]:
    """What auth knows."""
    state = recording.state.value + (f": {recording.reason}" if recording.reason else "")
    return [
        ("Session", recording.id),
        ("User", recording.user),
        ("Account", f"{recording.login}@{recording.server_hostname}"),
        ("Node", recording.server_id),
        ("Started", moment(recording.created_at)),
        ("Ended", "" if recording.ended_at is None else moment(recording.ended_at)),
        ("Terminal", f"{recording.cols}x{recording.rows} {recording.term}"),
        ("State", state),
    ]


async def _checked(calls: Recordings, wanted: str) -> Check:
    check = Check()
    async for piece in _pieces(calls, wanted):
        check.feed(piece)
    check.finish()
    return check


async def _pieces(calls: Recordings, wanted: str) -> AsyncIterator[bytes]:
    offset = 0
    while piece := await calls.stream(wanted, offset):
        yield piece
        offset += len(piece)


async def export(connection: Connection, arguments: Namespace) -> Answer:
    """A recording that is broken is written as well, as it is: it may be needed as evidence."""
    wanted, calls = session_id(arguments.session), connection.client.recordings
    path: Path = arguments.output or Path(wanted + FILE_END)
    check, broken = Check(), ""
    recording = await calls.get(wanted)
    with new_file(path) as file:
        try:
            async for piece in _pieces(calls, wanted):
                file.write(piece)
                broken = broken or _broken(check.feed, piece)
        except BaseException:
            path.unlink(missing_ok=True)  # half a recording would pass for a whole one that was cut
            raise
    broken = broken or _broken(check.finish)
    if broken:
        raise BadParameter(f"{broken} {path} holds what auth has of it, as it is.")
    return said(f"The recording has been written to {path}: {_summary(recording, check)}")


def _broken(look: Callable[..., None], *what: bytes) -> str:
    try:
        look(*what)
    except BadParameter as problem:
        return problem.sentence
    return ""


def _summary(recording: Recording, check: Check) -> str:
    so_far = "so far " if recording.state is RecordingState.RECORDING else ""
    return f"{so_far}{check.slices} slices, {size_text(check.size)}, head {check.head}"


def verify(arguments: Namespace) -> Answer:
    """:raises BadParameter: the file is broken, has another head than is wanted, or no end."""
    check, path = Check(), arguments.file
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            check.feed(piece)
    check.finish()
    if arguments.head and arguments.head.lower() != check.head:
        raise BadParameter(
            f"The head of {path} is {check.head}, and not {inert(arguments.head[:64])}: it is another one."
        )
    if not check.is_over and not arguments.head:
        raise BadParameter(
            f"{path} has no end. Its {check.slices} slices follow one another, but whether others came after them, only"
            f" the head tells that auth knows. Here it is {check.head}; give auth's with --head."
        )
    return Answer(lambda: headless([*check.of_session(), *check.of_chain()]), check.to_json())


async def remove(connection: Connection, arguments: Namespace) -> Answer:
    calls = connection.client.recordings
    if arguments.before is not None:
        return await _remove_old(calls, arguments.before, arguments.yes)
    wanted = [session_id(each) for each in arguments.sessions]
    for each in wanted:
        await calls.remove(each)
    return said("\n".join(f"The recording of session {each} has been deleted" for each in wanted))


async def _remove_old(calls: Recordings, before: float, sure: bool) -> Answer:
    found = await _old(calls, before)
    if not sure:
        count = f"{len(found)} recordings, {_total(found)}"
        return Answer(lambda: f"{recording_table(found)}\n{count}. Nothing was deleted; --yes deletes them.\n")
    gone: list[Recording] = []
    while more := [each for each in found if await _is_removed(calls, each)]:
        gone += more
        found = await _old(calls, before)  # a list has an end
    return said(f"{len(gone)} recordings have been deleted, {_total(gone)}")


def _total(recordings: Sequence[Recording]) -> str:
    return size_text(sum(each.size for each in recordings))


async def _old(calls: Recordings, before: float) -> Sequence[Recording]:
    found = await calls.all(to=before, limit=MAX_LISTED)
    return [each for each in found if each.state is not RecordingState.RECORDING]


async def _is_removed(calls: Recordings, recording: Recording) -> bool:
    with suppress(NotFound, InUse):  # somebody else was faster, or its node goes on with it
        await calls.remove(recording.id)
        return True
    return False
