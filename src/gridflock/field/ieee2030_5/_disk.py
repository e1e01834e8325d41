"""One thread that writes, one thing after the other, and that keeps no process alive that wants to end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any

_Job = tuple[Callable[..., Any], tuple[Any, ...], "Future[Any]"]


class Disk:
    """Does what takes a disk's time; a disk that never answers holds this thread and nobody else."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=_work, args=(self._jobs,), name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:  # noqa: ANN401 - handed on
        """Do something after all that was asked for before; what comes of it."""
        done: Future[Any] = Future()
        self._jobs.put((work, args, done))
        return done

    def end(self) -> None:
        """Do nothing more after what was asked for."""
        self._jobs.put(None)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        work, args, done = job
        if not done.set_running_or_notify_cancel():
            continue
        try:
            found = work(*args)
        except BaseException as error:  # noqa: BLE001 - who asked is told
            done.set_exception(error)
        else:
            done.set_result(found)
