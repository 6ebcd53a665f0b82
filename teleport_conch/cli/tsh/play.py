"""``tsh play``: what somebody saw on a terminal, once more."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from attrs import frozen
from twisted.internet.task import deferLater

from teleport_conch.audit.renditions import Cast, Lines, Raw, Rendition, Text
from teleport_conch.audit.tape import Fetch, Tape
from teleport_conch.cli.recordings import check_head, from_file, is_file, missing, new_file, session_id
from teleport_conch.cli.tsh.calls import in_reactor, with_auth
from teleport_conch.cli.tsh.child import as_term, handled
from teleport_conch.cli.tsh.player import POLL_S, Grows, Keys, Player
from teleport_conch.cli.tsh.screen import keyboard, lent, write
from teleport_conch.cli.tsh.session import current_login
from teleport_conch.client.api import AuthClient
from teleport_conch.errors import AccessDenied, BadParameter
from teleport_conch.resources.recording import Recording, RecordingState

MAX_IN_MEMORY_BYTES = 16 << 20
"""Of what has come of a recording; more of it is in a file without a name."""
BREATH_BYTES = 1 << 20
"""Of records that are written before signals are looked at."""

RENDITIONS: Mapping[str, Callable[[], Rendition]] = {"pty": Raw, "text": Text, "json": Lines, "asciicast": Cast}


@frozen
class Source:
    """Where a recording comes from.

    :ivar is_here: it can be read again at no cost.
    :ivar recording: what auth tells of it.
    """

    fetch: Fetch
    is_here: bool
    recording: Recording | None = None
    grows: Grows | None = None


def play(arguments: Namespace) -> None:
    """The command."""
    if is_file(arguments.session):
        if arguments.follow:
            raise BadParameter("A file does not grow: leave --follow out.")
        with Path(arguments.session).open("rb") as file:
            return in_reactor(
                arguments.debug,
                lambda reactor: _play(reactor, arguments, Source(from_file(reactor, file), is_here=True)),
            )
    wanted = session_id(arguments.session)

    async def of_auth(reactor: Any, client: AuthClient) -> None:
        await _play(reactor, arguments, await _source(client, wanted, arguments.follow))

    return with_auth(arguments, current_login(arguments), of_auth)


async def _source(client: AuthClient, wanted: str, follow: bool) -> Source:
    """:raises AccessDenied: it may not be played; that is said before anything is drawn."""
    first = await client.recordings.stream(wanted, 0)
    recording = None
    with suppress(AccessDenied):  # a role may let somebody play what it does not let them list
        recording = await client.recordings.get(wanted)

    async def fetch(offset: int) -> bytes:
        return await client.recordings.stream(wanted, offset) if offset or not first else first

    async def grows() -> bool:
        return (await client.recordings.get(wanted)).state is RecordingState.RECORDING

    return Source(fetch, False, recording, grows if follow else None)


async def _play(reactor: Any, arguments: Namespace, source: Source) -> None:
    to_terminal = arguments.format == "pty" and arguments.output is None and sys.stdout.isatty()
    with ExitStack() as opened:
        if to_terminal:
            kept: IO[bytes] = opened.enter_context(SpooledTemporaryFile(MAX_IN_MEMORY_BYTES))
            tape = Tape(source.fetch, None if source.is_here else kept)
            if not await _on_terminal(reactor, tape, arguments.speed, source.grows):
                return
            print("end of session playback", flush=True)
        else:
            tape = Tape(source.fetch)
            out = sys.stdout.buffer if arguments.output is None else opened.enter_context(new_file(arguments.output))
            await _render(reactor, tape, RENDITIONS[arguments.format](), out, source.grows)
    if source.recording is not None:
        check_head(source.recording, tape.chain.head.hex())
    note = missing(tape, source.recording)
    if note:
        sys.stderr.write(f"{note}\n")


async def _on_terminal(reactor: Any, tape: Tape, speed: float, grows: Grows | None) -> bool:
    """Whether it was played to its end."""
    sys.stdout.flush()
    out = sys.stdout.fileno()
    player = Player(reactor, tape, partial(write, out), lambda: os.get_terminal_size(out).columns, speed, grows)
    keys = Keys()

    def typed(data: bytes) -> None:
        for key in keys.feed(data):
            player.press(key)

    with ExitStack() as taken:
        taken.enter_context(handled({signal.SIGHUP: as_term}))
        if sys.stdin.isatty():
            taken.enter_context(keyboard(reactor, sys.stdin.fileno(), typed))
        taken.enter_context(lent(out))
        return await player.play()


async def _render(reactor: Any, tape: Tape, rendition: Rendition, out: IO[bytes], grows: Grows | None) -> None:
    """Writes all at once, without the waits; signals have their turn, as a small recording may show very much."""
    is_growing, shown = grows is not None, 0
    while True:
        async for record in tape.rest():
            out.write(rendition.take(record))
            shown += record.size
            if shown >= BREATH_BYTES:
                shown = 0
                await deferLater(reactor, 0.0)
        out.flush()
        if grows is None or not is_growing or tape.chain.over:
            break
        is_growing = await grows()
        await deferLater(reactor, POLL_S)
    out.write(rendition.end())
    out.flush()
