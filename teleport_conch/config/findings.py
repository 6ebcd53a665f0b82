"""What reading a configuration finds beside its values: mistakes, and things to say at every start."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve, field, frozen

from teleport_conch.errors import ConfigError

#: Mistakes beyond this many are counted, not listed.
MAX_MISTAKES = 100


@frozen
class Mistake:
    """One thing that is wrong. ``place`` is ``file:line``, or ``command line``."""

    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence}"

    def line(self) -> int:
        """The number of the line; 0 if the mistake is in a flag."""
        number = self.place.rpartition(":")[2]
        return int(number) if number.isdigit() else 0


@define
class Findings:
    """The mistakes and notices of one configuration, in the order in which they were met.

    :ivar asks: whether what is being read asks for anything. Inside a section with ``enabled: no`` it does not, and
        there a value that is not built is no mistake.
    :ivar homes: the sections that know a key, for those who wrote it elsewhere.
    """

    mistakes: list[Mistake] = field(factory=list)
    notices: list[str] = field(factory=list)
    asks: bool = True
    homes: Mapping[str, tuple[str, ...]] = field(factory=dict)

    def mistake(self, place: str, sentence: str) -> None:
        self.mistakes.append(Mistake(place, sentence))

    def not_built(self, place: str, sentence: str) -> None:
        if self.asks:
            self.mistake(place, sentence)

    def notice(self, sentence: str) -> None:
        if self.asks:
            self.notices.append(sentence)

    def within(self, asks: bool) -> Findings:
        """The same findings, for the inside of a section that is on (``asks``) or off."""
        return evolve(self, asks=self.asks and asks)

    def raise_mistakes(self) -> None:
        """:raises ConfigError: with one line for each mistake, if there are any."""
        if not self.mistakes:
            return
        found = sorted(self.mistakes, key=Mistake.line)
        lines = [str(mistake) for mistake in found[:MAX_MISTAKES]]
        if len(self.mistakes) > MAX_MISTAKES:
            lines.append(f"and {len(self.mistakes) - MAX_MISTAKES} more mistakes")
        raise ConfigError("\n".join(lines), mistakes=len(self.mistakes))
