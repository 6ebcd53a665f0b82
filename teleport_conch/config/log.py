"""Where the log goes and what it holds, as the section ``teleport.log`` says, given to the program that runs us."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from typing import TextIO

from twisted.logger import LogLevel, textFileLogObserver

from teleport_conch.config.settings import LogSettings
from teleport_conch.errors import StartError

STREAMS = ("stdout", "stderr")
"""The outputs that are no files."""
_MODE = 0o640


def direct_log(log: LogSettings, runner: MutableMapping[str, object]) -> None:
    """Sets the keys by which ``twist`` starts its log. What was set there by a flag of ``twist`` itself stays.

    :raises StartError: the file cannot be opened.
    """
    if runner.get("logFile") is sys.stdout:
        runner["logFile"] = open_log(log.output)
        runner["fileLogObserverFactory"] = textFileLogObserver
    if runner.get("logLevel") is LogLevel.info:
        runner["logLevel"] = LogLevel.levelWithName(log.severity)


def open_log(output: str) -> TextIO:
    """The stream that an ``output`` names: ``stderr``, ``stdout`` or a file, which is appended to.

    :raises StartError: the file cannot be opened.
    """
    if output in STREAMS:
        stream: TextIO = getattr(sys, output)
        return stream
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise StartError(f"The log file {output} cannot be opened: {error.strerror}.") from None
    return os.fdopen(descriptor, "a", buffering=1, encoding="utf-8")
