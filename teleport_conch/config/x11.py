"""The section ``ssh_service.x11``: which displays the sessions of a node may have."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from teleport_conch.config.keys import Section, key
from teleport_conch.config.scalars import YES_NO, whole

_MORE_DISPLAYS = 1000
_LAST_DISPLAY = (1 << 16) - 1 - 6000  # as its port is 6000 and the number
_DISPLAYS = whole(0, _LAST_DISPLAY)


@frozen
class X11Settings:
    """Section ``ssh_service.x11``, a key of later versions of Teleport.

    :ivar display_offset: the first number that a display may have.
    :ivar max_display: the last one; None for a thousand above the first.
    """

    enabled: bool = key(YES_NO, False)
    display_offset: int = key(_DISPLAYS, 10)
    max_display: int | None = key(_DISPLAYS, None)

    @property
    def displays(self) -> range:
        """The numbers that displays may have; none where X11 is not forwarded."""
        last = self.display_offset + _MORE_DISPLAYS if self.max_display is None else self.max_display
        return range(self.display_offset, min(last, _LAST_DISPLAY) + 1) if self.enabled else range(0)


def _no_display(x11: X11Settings) -> Iterable[str]:
    if x11.max_display is not None and x11.max_display < x11.display_offset:
        yield f"max_display ({x11.max_display}) is below display_offset ({x11.display_offset})"


X11_SECTION: Section[X11Settings] = Section(X11Settings, checks=_no_display)
