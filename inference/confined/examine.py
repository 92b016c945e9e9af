"""Looking at a stranger's artefact from outside: start the confined process, watch it, read its verdict."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Final

from pydantic import ValidationError

from inference.confined.limits import Limits
from inference.confined.seccomp import check_here
from inference.confined.wire import Examined, Refused, Request, Verdict
from models.card import ModelCard
from models.errors import CardRejected, ConfinementUnavailable

log = logging.getLogger("ray.serve")

_ROOT: Final = Path(__file__).resolve().parents[2]
_LOOK_S: Final = 0.02
_AHEAD_S: Final = 0.2
"""Processor time that the process may use before its share is held against it."""
_WORDS: Final = 2000
_NO_VERDICT: Final = Refused(
    code=CardRejected.code, field="artefact", message="the process that looked at it gave no verdict"
)
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def examine(card: ModelCard, artefact: bytes, limits: Limits | None = None) -> Examined:
    """What a confined process finds out about the artefact; blocks until it has.

    CardRejected if the artefact is not what its card says, or costs more than `limits` to look at;
    ConfinementUnavailable where a process cannot be confined. Nothing of the artefact is loaded here.
    """
    check_here()
    limits = limits or Limits()
    if len(artefact) > limits.file_bytes:
        raise CardRejected(
            f"the artefact has {len(artefact)} bytes; at most {limits.file_bytes} are taken", field="artefact"
        )
    with TemporaryFile() as request, TemporaryFile() as verdict, TemporaryFile() as complaint:
        request.write(Request(card=card, limits=limits).model_dump_json().encode() + b"\n" + artefact)
        request.seek(0)
        with _confined(request, verdict, complaint) as process:
            _watch(process, limits)
        return _read(_content(verdict), process.returncode, complaint)


@contextmanager
def _confined(
    request: IO[bytes], verdict: IO[bytes], complaint: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, in an empty directory; it is gone when the block ends."""
    files = request.fileno(), verdict.fileno()
    with TemporaryDirectory() as nowhere:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "inference.confined.child", *map(str, files)],
            cwd=nowhere,
            env={"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            pass_fds=files,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaint,
            start_new_session=True,  # a Ctrl-C is for the hub, which then ends this process
        )
        with suppress(ProcessLookupError):  # its imports already wait for everybody else
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _watch(process: subprocess.Popen[bytes], limits: Limits) -> None:
    """Return when it has ended. Stops it while it is ahead of its share of a processor."""
    began, stopped = time.monotonic(), False
    while process.poll() is None:
        elapsed_s = time.monotonic() - began
        if elapsed_s > limits.wall_s:
            raise CardRejected(f"looking at it took longer than {limits.wall_s:g} s", field="time")
        ahead = _cpu_s(process.pid) > _AHEAD_S + limits.share * elapsed_s
        if ahead is not stopped:
            process.send_signal(signal.SIGSTOP if ahead else signal.SIGCONT)
            stopped = ahead
        time.sleep(_LOOK_S)


def _cpu_s(pid: int) -> float:
    """Processor time of a child of ours so far; it is there until it is waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _read(verdict: bytes, code: int, complaint: IO[bytes]) -> Examined:
    if not verdict:
        log.warning("a confined process said: %s", _content(complaint)[-_WORDS:].decode(errors="replace"))
        raise _ended(code)
    try:
        said = Verdict.model_validate_json(verdict)
    except ValidationError:
        said = Verdict()
    if said.examined:
        return said.examined
    refused = said.refused or _NO_VERDICT
    if refused.code == ConfinementUnavailable.code:
        raise ConfinementUnavailable(refused.message)
    raise CardRejected(refused.message, field=refused.field)


def _ended(code: int) -> CardRejected:
    """Why there is no verdict, by how the process ended."""
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return CardRejected("looking at it took more processor time than it may", field="time")
    end = signal.Signals(-code).name if code < 0 else f"status {code}"
    return CardRejected(f"the process that looked at it ended with {end}", field="artefact")
