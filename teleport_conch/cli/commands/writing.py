"""``tctl create`` and ``tctl edit``: resources from files, all of which are read before the first one is sent."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from teleport_conch.access.roles import Role
from teleport_conch.cli import documents
from teleport_conch.cli.answer import Answer, said
from teleport_conch.cli.connection import Connection
from teleport_conch.cli.counting import counted
from teleport_conch.cli.documents import Document
from teleport_conch.cli.references import SINGLE, Reference
from teleport_conch.cli.table import inert
from teleport_conch.cli.views import plan_table
from teleport_conch.client.rules import Collection, Rules, Single
from teleport_conch.client.tokens import TokenDocuments
from teleport_conch.errors import AlreadyExists, BadParameter, TeleportError
from teleport_conch.resources.fields import Fields
from teleport_conch.resources.user import check_written

_EDITORS = ("VISUAL", "EDITOR")

Documents = Collection[Any] | Single[Any] | TokenDocuments
COLLECTIONS: Mapping[str, Callable[[Rules], Documents]] = {
    "user": lambda rules: rules.users,
    "role": lambda rules: rules.roles,
    "lock": lambda rules: rules.locks,
    "token": lambda rules: rules.tokens,
    "cluster_config": lambda rules: rules.configuration,
    "cluster_auth_preference": lambda rules: rules.preference,
}
"""The kinds that are made of documents."""
PLANNED = ("role", "user")


async def create(connection: Connection, arguments: Namespace) -> Answer:
    """Makes what a file says, with ``--force`` in place of what there is; or tells what that would mean."""
    rules = connection.client.rules
    found = documents.read(_text(arguments.file))
    documents.check(found, {kind: partial(_read, kind, of(rules)) for kind, of in COLLECTIONS.items()})
    if arguments.plan:
        return await _plan(rules, found)
    lines: list[str] = []
    for each in found:
        lines += [await _create(COLLECTIONS[each.kind](rules), each, arguments.force, lines)]
    return said("\n".join((*lines, *_notes(found, connection.now()))))


def _notes(found: Sequence[Document], now: float) -> Iterator[str]:
    """What is kept, and may be taken for more."""
    roles = [Role.from_json(each.value) for each in found if each.kind == "role"]
    over = [role.name for role in roles if not role.holds_at(now)]
    if over:
        yield f"NOTE: what has expired neither allows nor denies anything: {inert(', '.join(over))}."
    named = [role.name for role in roles if any(side.kubernetes.to_json() for side in (role.allow, role.deny))]
    if named:
        yield f"NOTE: nothing here goes by kubernetes_groups and kubernetes_users, of {inert(', '.join(named))}."


def _read(kind: str, collection: Documents, document: object) -> object:
    """Reads what somebody wrote, as auth will."""
    if kind == "user":
        check_written(document)
    if kind in SINGLE:
        name = Fields(document, kind).child("metadata").text("name", default="")
        if name not in ("", SINGLE[kind]):
            raise BadParameter(f"{kind}.metadata.name: there is one {kind}, and it is called {SINGLE[kind]}.")
    return collection.read(document)


async def _plan(rules: Rules, found: Sequence[Document]) -> Answer:
    for each in found:
        if each.kind not in PLANNED:
            raise BadParameter(f"Document {each.number} is a {inert(each.kind)}; a plan is about roles and users.")
    with counted("users looked at") as told:
        plan = await rules.plan([each.value for each in found], told=told)
    return Answer(lambda: plan_table(plan), dict(plan))


def _text(file: Path | None) -> str:
    try:
        if file is None or str(file) == "-":
            return sys.stdin.read(documents.MAX_FILE_CHARS + 1)
        with file.open(encoding="utf-8") as opened:
            return opened.read(documents.MAX_FILE_CHARS + 1)
    except OSError as reason:
        raise BadParameter(f"{file} cannot be read: {reason.strerror}.") from None
    except UnicodeDecodeError:
        raise BadParameter(f"{file or 'The input'} is not text in UTF-8.") from None


async def _create(collection: Documents, document: Document, force: int, before: Sequence[str]) -> str:
    """:param before: what was done with the documents before it, which stays when this one is refused."""
    try:
        return await _put(collection, document, force)
    except TeleportError as reason:
        done = f" Before it: {'; '.join(before)}." if before else ""
        raise BadParameter(f"{document.explained(reason).sentence}{done}") from None


async def _put(collection: Documents, document: Document, force: int) -> str:
    try:
        made = await collection.create(document.value, force=force > 1)
    except AlreadyExists as there:
        if not force:
            raise AlreadyExists(f"{there.sentence} With -f it is replaced.") from None
        made = await collection.replace(document.name, document.value, force=force > 1)
        return f'{document.kind} "{_called(document, made)}" has been updated'
    return f'{document.kind} "{_called(document, made)}" has been created'


def _called(document: Document, made: Mapping[str, object]) -> str:
    """What a resource is called on the screen; the name of a new token is its secret, so that it goes by its id."""
    if document.kind != "token":
        return inert(document.name)
    return inert(Fields(made, "token").child("metadata").text("name"))


async def edit(connection: Connection, arguments: Namespace) -> Answer:
    """Opens a resource in an editor, and replaces the revision that was opened with what is saved.

    What the editor held is kept in a file where it is refused.
    """
    reference: Reference = arguments.resource
    collection = COLLECTIONS[reference.kind](connection.client.rules)
    before = yaml.safe_dump(documents.written(await collection.document(reference.name)), sort_keys=False)
    after, path = _edited(before, reference)
    if after == before:
        path.unlink()
        return said("Nothing was changed.")
    try:
        (document,) = _one(after, reference)
        documents.check([document], {reference.kind: partial(_read, reference.kind, collection)})
        await collection.replace(reference.name, document.value, force=arguments.force)
    except TeleportError as reason:
        raise BadParameter(f"{reason.sentence} What you wrote is in {path}.") from None
    path.unlink()
    done = f'{reference.kind} "{inert(reference.name)}" has been updated'
    return said("\n".join((done, *_notes([document], connection.now()))))


def _one(text: str, reference: Reference) -> Sequence[Document]:
    found = documents.read(text)
    if len(found) != 1 or (found[0].kind, found[0].name) != (reference.kind, reference.name):
        raise BadParameter(f"An edit is of one resource, and this one stays {reference.kind}/{reference.name}.")
    return found


def _edited(text: str, reference: Reference) -> tuple[str, Path]:
    """What somebody makes of a text in an editor, and where that is."""
    editor = next((os.environ[name] for name in _EDITORS if os.environ.get(name)), "vi")
    descriptor, name = tempfile.mkstemp(prefix=f"tctl-{reference.kind}-", suffix=".yaml")  # for its owner only
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        done = subprocess.run([*shlex.split(editor), name], check=False)
    except (OSError, ValueError) as reason:
        why = getattr(reason, "strerror", None) or str(reason)
        raise BadParameter(f"The editor {editor!a} cannot be started: {why}. Set EDITOR.") from None
    if done.returncode:
        raise BadParameter(f"The editor ended with {done.returncode}; nothing was changed.")
    path = Path(name)
    return _text(path), path
