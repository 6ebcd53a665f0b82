"""The log of a command."""

from __future__ import annotations

from typing import TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)


def begin_log(*observers: ILogObserver) -> None:
    """Start the log of this process, once. Without observers nothing is logged."""
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False)


def observer(stream: TextIO, lowest: str) -> ILogObserver:
    """Writes events of the level ``lowest`` (debug, info, warn, error) and above to ``stream``."""
    return FilteringLogObserver(textFileLogObserver(stream), [LogLevelFilterPredicate(LogLevel.levelWithName(lowest))])
