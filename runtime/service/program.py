"""The start and the end of a program: arguments, settings, logs, signals, exit code."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import FrameType
from typing import Final, Generic, TypeVar

from runtime import not_installed
from runtime.contract import VERSION, ExitCode
from runtime.environment import Variable, read, variables
from runtime.errors import BadInput, PurpleFleaError, Unauthorized
from runtime.service.logs import configure
from runtime.service.memory import keep_private
from runtime.service.settings import Level, LogSettings

S = TypeVar("S")

LAST_SECONDS: Final = 2.0
"""From the cut to the end of the process, whatever still runs: a thread, a blocked loop, code that ignores the cut."""

_log = logging.getLogger("runtime.service")


class Kind(Enum):
    """What SIGTERM means to a program, and who reads its output."""

    SERVICE = "service"
    """Runs until SIGTERM, which is its good end: exit code 0."""
    TASK = "task"
    """Ends by itself; SIGTERM before that interrupts it: exit code 130."""
    COMMAND = "command"
    """A task for people: its result is on standard output, what it logs on standard error in plain words."""


class Failure(Exception):
    """Ends the program with a sentence for people and an exit code, without a traceback."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """For a program that reads no variable of its own."""


@dataclass(frozen=True)
class Start(Generic[S]):
    """What a program is started with."""

    settings: S
    arguments: argparse.Namespace
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a service is asked to end; a service may set it itself."""


@dataclass(frozen=True)
class Program(Generic[S]):
    """One program, declared; `main` starts it.

    Args:
        name: As people call it, e.g. `python -m runtime.operator`.
        summary: What `--help` says first.
        settings: The class that `read` builds from the environment.
        run: Does the work. It is called once arguments and settings are right, and is the place to import what takes
            long; returned is the exit code (None is OK), or an awaitable of it.
        kind: See `Kind`.
        stop_seconds: How long a service may take to end, from SIGTERM on; below the pod's grace period; may
            depend on the arguments.
        add_arguments: Adds the program's own arguments to the parser.
        new_loop: Makes the event loop, where asyncio's own is not wanted.
        reads_too: Settings classes that only some of its verbs read, for help and reference page.
    """

    name: str
    summary: str
    settings: type[S]
    run: Callable[[Start[S]], Awaitable[int | None] | int | None]
    kind: Kind = Kind.SERVICE
    stop_seconds: float | Callable[[argparse.Namespace], float] = 25.0
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    reads_too: Mapping[str, type] = field(default_factory=dict)

    @property
    def short_name(self) -> str:
        """The last word of the name, e.g. `operator`; what plain log lines begin with."""
        return self.name.split()[-1].rpartition(".")[2]

    def variables(self) -> list[tuple[Variable, str]]:
        """Every environment variable that it reads, and the verb that reads it; empty for all of it."""
        own = [(variable, "") for settings in (self.settings, LogSettings) for variable in variables(settings)]
        return own + [(variable, verb) for verb, settings in self.reads_too.items() for variable in variables(settings)]

    def main(self, arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
        """Run the program from its arguments to its exit code. Takes over the process's signals and its logging."""
        ending = _Ending(self.kind)
        ending.listen()
        keep_private()  # before the first setting, and with it the key, is read
        try:
            parsed = self.parser().parse_args(arguments)
            settings = self._configured(environ)
            bound = self.stop_seconds
            bound = bound if isinstance(bound, int | float) else bound(parsed)
            code = ending.run(self.run(Start(settings, parsed, ending.stop)), bound, self.new_loop)
            sys.stdout.flush()
            return code
        except BrokenPipeError as error:
            return _seen_enough() if self.kind is Kind.COMMAND else _exit_code(error)
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            return _exit_code(error)

    def _configured(self, environ: Mapping[str, str]) -> S:
        """The settings, with the log set up by them, or by its defaults where they are wrong."""
        command = self.kind is Kind.COMMAND
        default, mistakes = Level.WARNING if command else Level.INFO, []
        configure(self.short_name, default, for_people=command)
        try:
            configure(self.short_name, read(LogSettings, environ).level or default, for_people=command)
        except BadInput as error:
            mistakes.append(error)
        try:
            settings = read(self.settings, environ)
        except (BadInput, Unauthorized) as error:
            mistakes.append(error)
        if mistakes:
            raise BadInput("\n".join(mistake.message for mistake in mistakes))
        return settings

    def parser(self) -> argparse.ArgumentParser:
        """Its arguments, and what `--help` says."""
        parser = argparse.ArgumentParser(
            self.name,
            description=self.summary,
            epilog="\n".join(self._help()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.add_argument("--version", action="version", version=f"{self.name} {VERSION}")
        if self.add_arguments:
            self.add_arguments(parser)
        return parser

    def _help(self) -> list[str]:
        lines = ["environment:"]
        for variable, verb in self.variables():
            only = f" (`{verb}` only)" if verb else ""
            lines += [
                f"  {variable.name}{only}: {variable.takes}; unset: {variable.without}",
                f"      {variable.meaning}.",
            ]
        return [line.replace("`", "") for line in lines]


class _Ending:
    """How the process ends: signals from its first moment on, a bound on the stop, no traceback."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_by = 0
        self._stop_seconds = 0.0
        self.stop = asyncio.Event()

    def listen(self) -> None:
        """Handle both signals; a container's first process ignores those it has no handler for, also while it loads."""
        for number in (signal.SIGTERM, signal.SIGINT):  # a shell starts background jobs with SIGINT ignored
            signal.signal(number, self._asked)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(ExitCode.FAILED))

    def _asked(self, number: int, _: FrameType | None) -> None:
        again, self._asked_by = self._asked_by, number
        if self._loop is not None and not again:
            self._set_bound()  # here, because the loop may never get to it
            self._loop.call_soon_threadsafe(self.stop.set)
        elif number == signal.SIGTERM and self._kind is Kind.SERVICE:
            sys.exit(ExitCode.OK)
        else:
            raise KeyboardInterrupt

    def run(
        self,
        outcome: Awaitable[int | None] | int | None,
        stop_seconds: float,
        new_loop: Callable[[], asyncio.AbstractEventLoop] | None,
    ) -> int:
        """The exit code of what a program's `run` returned."""
        if outcome is None or isinstance(outcome, int):
            return outcome or ExitCode.OK
        self._stop_seconds = stop_seconds
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                code = runner.run(self._until_done(outcome))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return ExitCode.INTERRUPTED if self._asked_by == signal.SIGINT and not code else code

    def _set_bound(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._stop_seconds + LAST_SECONDS)

    async def _until_done(self, outcome: Awaitable[int | None]) -> int:
        self._loop, work = asyncio.get_running_loop(), asyncio.ensure_future(outcome)
        stopping = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not work.done():
            self._set_bound()  # a service may set `stop` itself
            if self._kind is not Kind.SERVICE:
                work.cancel()
            await asyncio.wait((work,), timeout=self._stop_seconds)
            if not work.done():
                work.cancel()
                raise Failure(f"did not end within {self._stop_seconds:g} s of being asked to; the rest was cut off")
        return work.result() or ExitCode.OK


def _seen_enough() -> int:
    """Whoever reads our output has ended, as `head` does: so do we, in silence, with a shell's code for it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in a buffer is lost there
    return 128 + signal.SIGPIPE


def _exit_code(error: BaseException) -> int:
    """Say what ended the program; the code that the contract gives it."""
    match error:
        case KeyboardInterrupt() | asyncio.CancelledError():
            return ExitCode.INTERRUPTED
        case BadInput() | Unauthorized():
            for line in str(error).splitlines():
                _log.critical("%s", line)
            return ExitCode.BAD_INPUT
        case Failure():
            _log.critical("%s", error)
            return error.code
        case PurpleFleaError():
            _log.critical("%s", error)
        case ModuleNotFoundError() if words := not_installed(error):
            _log.critical("%s", words)
            return ExitCode.BAD_INPUT
        case ExceptionGroup():
            codes = {_exit_code(each) for each in error.exceptions}
            return codes.pop() if len(codes) == 1 else ExitCode.FAILED
        case _:
            _log.critical("stopped by %s: %s", type(error).__name__, error, exc_info=error)
    return ExitCode.FAILED
