"""Workers: a process for each contestant, which holds its store open and does works when it is told to.

Contestants do not share an interpreter, so none pays for another one's garbage or settings, and they can take turns
within a fraction of a second. What is said between the two is a line of JSON each.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Any

from benchmarks import works
from benchmarks.payloads import payload
from benchmarks.stores import CONTESTANTS, Contestant
from benchmarks.stores.contract import Missing

_HOME = Path(__file__).parent.parent
#: Seconds that a worker has to go away by itself.
_PATIENCE = 60


class WorkFailed(Exception):
    """A work was not done; the text is the worker's traceback."""


class Worker:
    """The parent's end. A context manager: the worker ends with it.

    :param folder: where its store is; another worker may have made it.
    :param options: for the store, beside the contestant's own.
    :raises Missing: what the contestant stands on is not there.
    """

    def __init__(
        self, contestant: Contestant, folder: Path, *, seconds: float = 1, size: int = 1_000, **options: Any
    ) -> None:
        self.contestant = contestant
        settings = {"folder": str(folder), "seconds": seconds, "size": size, "options": options}
        command = _command(contestant, settings)
        pipe = subprocess.PIPE
        # In a session of its own, so that servers which it started can be ended with it.
        self._process = subprocess.Popen(command, cwd=_HOME, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        try:
            #: Seconds that importing and opening took.
            self.opened: float = self._answer()
        except BaseException:
            self.close()
            raise

    def do(self, name: str, /, **arguments: Any) -> Any:
        """Do a work of :class:`~benchmarks.works.Works`, and return what it returns.

        :raises NotImplementedError: the contestant cannot do that.
        :raises WorkFailed: it failed.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Have it close its store, and end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(_PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        kind, value = json.loads(line) if line else ("failed", "the worker ended")
        if kind == "done":
            return value
        raise {"missing": Missing, "unable": NotImplementedError}.get(kind, WorkFailed)(value)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _command(contestant: Contestant, settings: dict[str, Any]) -> list[str]:
    program = contestant.program
    if program is None:
        return [sys.executable, "-m", "benchmarks.workers", contestant.name, json.dumps(settings)]
    perl = which("perl")
    if perl is None:
        raise Missing("Perl is not installed")
    Path(settings["folder"]).mkdir(exist_ok=True)
    options = {**contestant.options, **settings["options"]}
    settings = {**settings, "options": options, "payload": payload(settings["size"])}
    return [perl, str(program), contestant.name, json.dumps(settings)]


def serve(name: str, settings: str) -> None:
    """Be a worker: open the store, and do what standard input says until it ends.

    :param settings: as JSON: ``folder``, ``seconds``, ``size``, ``options``.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints does not get between the answers
    logging.disable(logging.WARNING)

    def answer(kind: str, value: Any) -> None:
        answers.write(json.dumps([kind, value]) + "\n")
        answers.flush()

    start, given = time.perf_counter(), json.loads(settings)
    folder = Path(given["folder"])
    try:
        open_store = partial(CONTESTANTS[name].open, folder, **given["options"])
        doing = works.Works(open_store, folder, given["seconds"], given["size"])
    except Missing as missing:
        answer("missing", str(missing))
        return
    answer("done", time.perf_counter() - start)
    for line in sys.stdin:
        try:
            work, arguments = json.loads(line)
            answer("done", works.call(doing, work, arguments))
        except NotImplementedError:
            answer("unable", f"{name} cannot {work}")
        except Exception:
            answer("failed", traceback.format_exc())
    doing.close()


if __name__ == "__main__":
    serve(*sys.argv[1:])
