"""``tctl status``: the cluster at a glance."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from attrs import asdict

from teleport_conch.cli.answer import Answer
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.table import headless
from teleport_conch.client.answers import Status
from teleport_conch.config.loading import SESSIONS_NOT_RECORDED


async def status(connection: Connection, arguments: Namespace) -> Answer:
    found = await connection.cluster.status()
    return Answer(lambda: headless(_rows(found)), asdict(found))


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    yield "Cluster", status.cluster_name
    yield "Version", status.version
    yield from _several("User CA", status.user_ca)
    yield from _several("Host CA", status.host_ca)
    yield from _several("CA pin", status.ca_pins)
    recorded = status.session_recording != "off"
    yield "Recording", f"Sessions are recorded: {status.session_recording}" if recorded else SESSIONS_NOT_RECORDED
    if status.recordings_refused:
        yield "", status.recordings_refused


def _several(name: str, values: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for number, value in enumerate(values):
        yield ("" if number else name), value
