"""What a command has to say, and how it is printed: as text for people, as JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from teleport_conch.cli.forms import as_written
from teleport_conch.client import private_files
from teleport_conch.errors import AlreadyExists


@frozen
class Answer:
    """The outcome of a command.

    :ivar text: makes what people read; it is only called for them.
    :ivar value: what JSON can hold, resources as the API has them; None for a command that lists nothing, whose text
        is printed in every form.
    :ivar documents: in YAML, each item of ``value`` is a document of its own.
    :ivar files: texts with secrets to write, by path.
    :ivar overwrite: whether they replace what is there.
    """

    text: Callable[[], str]
    value: Sequence[object] | dict[str, object] | None = None
    documents: bool = False
    files: Mapping[Path, str] = field(factory=dict, repr=False)
    overwrite: bool = False

    def render(self, form: str) -> str:
        """What is printed, with a newline at its end.

        :param form: ``text``, ``json`` or ``yaml``.
        """
        if self.value is None or form == "text":
            return self.text()
        if form == "json":
            return json.dumps(as_written(self.value), indent=2) + "\n"
        return self._yaml()

    def _yaml(self) -> str:
        import yaml  # not needed by most commands, and not quick to load

        value = as_written(self.value)
        if self.documents:
            return str(yaml.safe_dump_all(value, sort_keys=False, explicit_start=True))
        return str(yaml.safe_dump(value, sort_keys=False))

    def write_files(self) -> None:
        """Write the files, readable for nobody else from the first moment on.

        :raises AlreadyExists: one is there, and is not to be replaced.
        """
        for path, text in self.files.items():
            if self.overwrite:
                private_files.write(path, text)
            elif not private_files.create(path, text, 0o600):
                raise in_the_way(path)


def in_the_way(path: Path) -> AlreadyExists:
    return AlreadyExists(f"{path} exists already. Give --overwrite to replace it, or another --out.")


def said(text: str) -> Answer:
    """An answer of words only."""
    return Answer(lambda: f"{text}\n")
