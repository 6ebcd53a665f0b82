"""What has changed since a certificate was signed: of it, some counts no more, and some that there is now it lacks."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from teleport_conch.access.shown import shown


@frozen
class Aged:
    """The difference between a certificate and what its person has now.

    :ivar lapsed: sentences about its access requests that do not count any more.
    :ivar gone: roles that it names, and that the person does not have any more.
    :ivar unnamed: roles that the person has, and that it does not name.
    """

    lapsed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """For reading, beside what failed in each role."""
        yield from (f"request: {sentence}; its roles do not count" for sentence in self.lapsed)
        if self.gone:
            yield f"certificate: it names {_names(self.gone)}, which the person does not have any more"
        if self.unnamed:
            yield f"certificate: it does not name {_names(self.unnamed)}, which the person has by now"

    @property
    def change(self) -> str:
        """What may help where none of the roles that count does; empty where nothing was given since."""
        return f"log in again, for a certificate with {_names(self.unnamed)}" if self.unnamed else ""

    def to_json(self) -> dict[str, object]:
        """Without what is empty, as nearly all of it is nearly always."""
        values = {"lapsed": self.lapsed, "gone": self.gone, "unnamed": self.unnamed}
        return {key: list(value) for key, value in values.items() if value}


NOT_AGED = Aged()


def _names(roles: tuple[str, ...]) -> str:
    return ", ".join(shown(role) for role in roles)
