"""The thread that writes: what waits while one transaction is committed becomes the next one.

A disk answers some hundred times a second that it has the data, whether a transaction holds one write or a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from sqlite3 import Error
from threading import Thread
from typing import Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_conch.errors import LimitExceeded, StorageError, StorageFull
from teleport_conch.storage.backend import Change, ChangeLog
from teleport_conch.storage.database import Database, explain
from teleport_conch.storage.draft import Draft

#: Writes of one transaction.
MAX_GROUP = 1024
#: Bytes that may wait for the disk; each write counts its values and WRITE_BYTES for itself.
MAX_WAITING_BYTES = 64 << 20
WRITE_BYTES = 1024

_Answer = TypeVar("_Answer")


class ThreadedReactor(Protocol):
    """What a store needs of a reactor: POSIX time, and a way back from its thread."""

    def seconds(self) -> float: ...

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> object: ...  # noqa: A002


@frozen(eq=False)
class Write:
    """One write on its way. ``decide`` runs in the writer's thread, again when its transaction has to be tried again.

    :param reads: the keys whose present items ``decide`` looks at.
    :param answer: fires in the reactor's thread, when the write is on the disk or refused.
    """

    decide: Callable[[Draft], None]
    reads: Sequence[str]
    weight_bytes: int
    answer: Deferred[None] = field(factory=Deferred)


@frozen
class _Outcome:
    write: Write
    changes: Sequence[Change]
    error: Exception | None = None


@define(eq=False)
class Writer:
    """Takes writes from the reactor's thread, commits them in groups, publishes and answers them in order."""

    _reactor: ThreadedReactor
    _database: Database
    _changes: ChangeLog
    _revision: int = field(init=False)  # the newest given out; the log's is the newest published
    _queue: SimpleQueue[Write | None] = field(init=False, factory=SimpleQueue)
    _waiting_bytes: int = field(init=False, default=0)
    #: Fires when :meth:`stop` was called, all writes are answered and the database is closed.
    stopped: Deferred[None] = field(init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._revision = self._changes.revision
        self.stopped = in_thread(self._reactor, self._run, f"writer of {self._database.path}")

    def submit(self, write: Write) -> Deferred[None]:
        """Have *write* decided and stored, after all that were submitted before.

        :raises LimitExceeded: the disk is too slow for what is asked of it.
        """
        if self._waiting_bytes + write.weight_bytes > MAX_WAITING_BYTES:
            waiting = f"{self._waiting_bytes >> 20} MiB of writes are waiting for the disk of {self._database.path}"
            raise LimitExceeded(f"{waiting}; try again later.")
        self._waiting_bytes += write.weight_bytes
        self._queue.put(write)
        return write.answer

    def stop(self) -> None:
        """Take no more writes, and close the database after those that wait. To be called once."""
        self._queue.put(None)

    # In the reactor's thread.

    def _finish(self, outcomes: Sequence[_Outcome]) -> None:
        if failed := [outcome.error for outcome in outcomes if isinstance(outcome.error, StorageError)]:
            self._log.error("{count} writes failed: {error.sentence}", count=len(failed), error=failed[0])
        for outcome in outcomes:
            self._waiting_bytes -= outcome.write.weight_bytes
            self._changes.publish(outcome.changes)
            if outcome.error is None:
                outcome.write.answer.callback(None)
            else:
                outcome.write.answer.errback(Failure(outcome.error))

    # In the writer's thread.

    def _run(self) -> None:
        try:
            for group in self._groups():
                self._reactor.callFromThread(self._finish, self._commit(group))
        finally:
            self._database.close()

    def _groups(self) -> Iterator[list[Write]]:
        stopping = False
        while not stopping:
            taken = [self._queue.get()]
            with suppress(Empty):
                while len(taken) < MAX_GROUP:
                    taken.append(self._queue.get_nowait())
            stopping = taken[-1] is None
            yield [write for write in taken if write is not None]

    def _commit(self, group: Sequence[Write]) -> list[_Outcome]:
        """Store *group* in one transaction; if the disk has no room for all of it, each write in one of its own."""
        try:
            return self._transact(group)
        except Error as error:
            failure: Exception = explain(error, self._database.path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered, and the thread goes on
            failure = error
        if isinstance(failure, StorageFull) and len(group) > 1:
            return [outcome for write in group for outcome in self._commit([write])]
        return [_Outcome(write, (), failure) for write in group]

    def _transact(self, group: Sequence[Write]) -> list[_Outcome]:
        reads = {key for write in group for key in write.reads}
        draft = Draft(self._revision, self._database.load(reads) if reads else {})
        outcomes = [_decide(write, draft) for write in group]
        if draft.changes:
            self._database.store(draft.changes, draft.revision)
        self._revision = draft.revision
        return outcomes


def in_thread(reactor: ThreadedReactor, call: Callable[[], _Answer], name: str) -> Deferred[_Answer]:
    """Call something that blocks in a thread of its own; the answer fires when that thread has ended."""
    answer: Deferred[_Answer] = Deferred()

    def run() -> None:
        try:
            deliver = partial(answer.callback, call())
        except Exception:  # noqa: BLE001 - it goes to whoever waits
            deliver = partial(answer.errback, Failure())
        reactor.callFromThread(finish, deliver)

    def finish(deliver: Callable[[], None]) -> None:
        thread.join()  # which was about to end
        deliver()

    thread = Thread(target=run, name=name, daemon=True)
    thread.start()
    return answer


def _decide(write: Write, draft: Draft) -> _Outcome:
    before = len(draft.changes)
    try:
        write.decide(draft)
    except Exception as error:  # noqa: BLE001 - it is the answer of this write, and does not concern its neighbours
        return _Outcome(write, (), error)
    return _Outcome(write, draft.changes[before:])
