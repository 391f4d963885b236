"""Completion in a shell: `escrowctl` by argcomplete's protocol, `kubectl purpleflea` by kubectl's.

kubectl runs `kubectl_complete-purpleflea` with the words so far, the last of which may be empty, and reads one
candidate a line and then how to go on: with these alone, or with files. Verbs, options and their values are completed;
names are not, because that would ask the cluster at each key.
"""

import os
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence

_FILES, _NO_FILES = ":0", ":4"
_TAKE_FILES = ("-f", "--file")
_SHELL_ASKS = "_ARGCOMPLETE"


def answer_shell(parser: ArgumentParser) -> None:
    """Where a shell asks for candidates, write them and end the process; else nothing."""
    if _SHELL_ASKS in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def candidates(parser: ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    """What may stand in place of the last word."""
    import argcomplete

    finder = argcomplete.CompletionFinder(parser, default_completer=argcomplete.completers.SuppressCompleter())
    line = " ".join([*map(shlex.quote, words[:-1]), words[-1] if words else ""])
    kept = len(line) - len(words[-1] if words else "")  # whole lines are answered
    number = 0
    while (found := finder.rl_complete(line, number)) is not None:
        yield found[kept:].strip()
        number += 1


def main() -> int:
    """`kubectl_complete-purpleflea`."""
    from runtime.escrowctl.__main__ import PROGRAM

    words = sys.argv[1:]
    for found in candidates(PROGRAM.parser(), words):
        sys.stdout.write(f"{found}\n")
    sys.stdout.write(f"{_FILES if words[-2:-1] and words[-2] in _TAKE_FILES else _NO_FILES}\n")
    return 0
