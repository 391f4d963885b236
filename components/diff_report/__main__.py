"""`python -m components.diff_report BASE HEAD`: what a change does to stacks, as Markdown for a pull request.

BASE and HEAD are each a folder with one rendered stack or several (`dist`, `dist/dev`), or a git revision, which is
rendered with its own code. Nothing of a Secret but the names of its keys is shown, and of no object a value.

Exit code 0 where nothing changes, 1 where something does, 2 where an argument or HEAD cannot be used.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from components.diff_report.rendered import Rendered
from components.diff_report.review import Review
from components.diff_report.text import LIMIT, markdown
from components.errors import BadInput
from components.stack_values import ROOT
from components.synth.output_folder import LISTING
from components.synth.rendering import AGENT_CONFIG
from components.synth.revision import NotRendered, rendered_at, stacks_at
from runtime.contract import ExitCode


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; see the module's docstring for the exit codes."""
    parser = argparse.ArgumentParser(
        prog="python -m components.diff_report", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("base", metavar="BASE", help="folder or git revision: how it was")
    parser.add_argument("head", metavar="HEAD", help="folder or git revision: how it will be")
    parser.add_argument("--stack", action="append", help="name of a stack; may be given again (default: all)")
    parser.add_argument("--project", type=Path, default=ROOT, help="the clone that has the revisions")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON too; - prints it in place of Markdown")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"bytes of the Markdown at most (default: {LIMIT})")
    options = parser.parse_args(arguments)
    try:
        reviews = _reviews(options.base, options.head, options.stack, options.project)
        document = json.dumps(_document(reviews), indent=2) + "\n"
        if options.json and options.json != "-":
            Path(options.json).write_text(document)
    except BadInput as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    except OSError as error:
        print(f"{options.json}: cannot be written: {error.strerror}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    sys.stdout.write(document if options.json == "-" else markdown(reviews, options.limit))
    return ExitCode.FAILED if any(review.differs for review in reviews.values()) else ExitCode.OK


def _document(reviews: Mapping[str, Review]) -> dict[str, object]:
    differs = any(review.differs for review in reviews.values())
    return {"differs": differs, "stacks": {name: review.json() for name, review in reviews.items()}}


def _reviews(base: str, head: str, wanted: list[str] | None, project: Path) -> dict[str, Review]:
    folders = [_stacks_in(Path(side)) if Path(side).is_dir() else None for side in (base, head)]
    if not wanted and all(found is not None and len(found) == 1 for found in folders):
        # One with one, whatever their names are.
        [before], [after] = (found.values() for found in folders if found)
        return {after.resolve().name: Review.of(Rendered.read(before), _mended(Rendered.read(after), str(after)))}
    known = [
        stacks_at(side, project) if found is None else [*found]
        for side, found in zip((base, head), folders, strict=True)
    ]
    names = wanted or sorted({*known[0], *known[1]})
    if unknown := sorted({*names} - {*known[0], *known[1]}) if names else ["any"]:
        raise BadInput(f"there is no stack {', '.join(unknown)}, neither in {base} nor in {head}")
    reviews = {}
    for name in names:
        before = _read(base, folders[0], name, known[0], project)
        after = _read(head, folders[1], name, known[1], project)
        reviews[name] = Review.of(before, after and _mended(after, f"{name} of {head}"))
    return reviews


def _stacks_in(folder: Path) -> dict[str, Path]:
    """Stacks rendered into a folder: itself, or those below it."""
    if _is_stack(folder):
        return {folder.resolve().name: folder}
    return {one.name: one for one in sorted(folder.iterdir()) if _is_stack(one)}


def _is_stack(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (LISTING, AGENT_CONFIG))


def _read(
    side: str, folders: dict[str, Path] | None, name: str, known: Iterable[str], project: Path
) -> Rendered | None:
    if name not in known:
        return None
    if folders is not None:
        return Rendered.read(folders[name])
    try:
        with rendered_at(side, name, project) as folder:
            return Rendered.read(folder)
    except NotRendered as error:
        return Rendered.unreadable(str(error))


def _mended(head: Rendered, name: str) -> Rendered:
    """Of the base as much counts as can be read; HEAD can still be mended, so it has to be read whole."""
    if head.problems:
        raise BadInput("\n".join(f"{name}: {problem}" for problem in head.problems))
    return head


if __name__ == "__main__":
    sys.exit(main())
