"""The section ``ssh_service.enhanced_recording``: whether a node records what the programs of sessions do."""

from __future__ import annotations

from attrs import frozen

from teleport_conch.config.keys import Section, key, without_effect
from teleport_conch.config.kinds import One
from teleport_conch.config.scalars import YES_NO

MAX_PAGES = 16_384


def _parse_pages(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 1 <= number <= MAX_PAGES or number & (number - 1):
        raise ValueError(f"'{text[:32]}' is not a power of two from 1 to {MAX_PAGES}")
    return number


_PAGES = One(_parse_pages)


@frozen
class TracingSettings:
    """Section ``ssh_service.enhanced_recording``.

    :ivar command_buffer_size, disk_buffer_size, network_buffer_size: what waits to be read, in pages of the machine.
    """

    enabled: bool = key(YES_NO, False)
    command_buffer_size: int = key(_PAGES, 8)
    disk_buffer_size: int = key(_PAGES, 128)
    network_buffer_size: int = key(_PAGES, 8)

    @property
    def pages(self) -> tuple[int, ...]:
        """Of commands, files and connections; empty where nothing is recorded."""
        return (self.command_buffer_size, self.disk_buffer_size, self.network_buffer_size) if self.enabled else ()


_CGROUP = "sessions are followed by their processes, which takes no cgroup file system, and the key is ignored"
TRACING_SECTION: Section[TracingSettings] = Section(
    TracingSettings, (without_effect("cgroup_path", default="/cgroup2", notice=_CGROUP),)
)
