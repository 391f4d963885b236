"""A review as Markdown that fits into a comment, and says what it left out."""

from collections.abc import Iterator, Mapping

from components.diff_report.review import Review
from components.rules.money import Exposure

LIMIT = 65_536
"""Characters of a comment on GitHub; bytes are counted here, which are never fewer."""
MARK = "<!-- purpleflea diff report -->"
"""First line: by it a workflow finds the comment that it wrote before."""
_LONGEST = 400
_PLACES = 3
_STEPS = (None, 1000, 300, 100, 30, 10, 3, 1, 0)
"""Lines a section, tried until all of it fits."""


def markdown(reviews: Mapping[str, Review], limit: int = LIMIT) -> str:
    """The whole report in at most `limit` bytes."""
    text = ""
    for most in _STEPS:
        text = _report(reviews, most, 0)
        if len(text.encode()) <= limit:
            return text
    for left_out in range(1, len(reviews) + 1):
        text = _report(dict([*reviews.items()][:-left_out]), 0, left_out)
        if len(text.encode()) <= limit:
            break
    return text


def _report(reviews: Mapping[str, Review], most: int | None, left_out: int) -> str:
    lines = [MARK, "## What this changes"]
    for name, review in reviews.items():
        lines += ["", f"### Stack `{_plain(name)}`", "", *_stack(review, most)]
    if left_out:
        lines += ["", f"**{left_out} more stacks are left out, since this is as long as a comment may be.**"]
    return "\n".join(lines) + "\n"


def _stack(review: Review, most: int | None) -> Iterator[str]:
    if not review.differs:
        yield "Nothing changes."
        return
    yield _money(*review.exposures)
    if review.before is None or review.after is None:
        yield f"\n**The stack is {'new' if review.before is None else 'gone'}.**"
    if review.before and review.before.problems:
        yield (
            "\n**Not all of the base could be read. What stands in it counts as not there before, "
            "so that more is listed below than is new.**"
        )
    for title, lines in _sections(review):
        yield from _section(title, lines, most)


def _sections(review: Review) -> Iterator[tuple[str, list[str]]]:
    yield "Of the base, not read", review.before.problems if review.before else []
    yield "New work: each is another payment", review.new_work
    yield "Work that was there before", review.same_work
    yield "Wider: who may do more, or what stops less", review.widened
    yield (
        "Images that move",
        [
            f"{one.before or 'none'} → {one.after}{' (MUTABLE: no digest)' if one.mutable else ''}, in "
            f"{', '.join(one.places[:_PLACES])}{f' and {more} more' if (more := len(one.places) - _PLACES) > 0 else ''}"
            for one in review.images
        ],
    )
    yield "Objects added", review.added
    yield "Objects removed", review.removed
    changed = [f"{name}{f' (was {was})' if was else ''}: {', '.join(fields)}" for name, was, fields in review.changed]
    yield "Objects changed", changed
    yield "Other files", review.files


def _section(title: str, lines: list[str], most: int | None) -> Iterator[str]:
    if not lines:
        return
    yield f"\n#### {title} ({len(lines)})\n"
    shown = lines[:most]
    if shown:
        # A block shows names as they are; whatever they hold, it is no markup.
        yield "\n".join(["```text", *map(_plain, shown), "```"])
    if len(lines) > len(shown):
        yield f"{len(lines) - len(shown)} more are left out here; the report as JSON has them all."


def _money(before: Exposure | None, after: Exposure | None) -> str:
    there = [*filter(None, (before, after))]
    kinds = {(one.kind, one.whole_balance) for one in there if one.total is not None}
    told = " → ".join(_exposure(one, len(kinds) > 1) for one in (before, after))
    whose = f" ({next(iter(kinds))[0]})" if len(kinds) == 1 else ""
    lines = [f"**Maximum exposure: {told} USDC**, fees included{whose}"]
    if after and after.arithmetic:
        lines.append(f"\n`{_plain(after.arithmetic)}`")
    if after and after.whole_balance:
        who = ", ".join(map(_plain, after.whole_balance))
        lines.append(f"\n**No number bounds what `{who}` can spend: its container holds the payer's key.**")
    lines += [f"\nUnknown, because {_plain(one.why)}." for one in there if one.total is None]
    return "\n".join(lines)


def _exposure(one: Exposure | None, with_kind: bool) -> str:
    if one is None:
        return "no stack"
    if one.total is None or not with_kind:
        return str(one)
    return f"{one} ({one.kind}{', and whole balances' if one.whole_balance else ''})"


def _plain(text: str) -> str:
    """One line without a backtick, which could end a block, and of bounded length."""
    line = "".join(character if character.isprintable() else " " for character in text.replace("`", "'"))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ... ({len(line) - _LONGEST} characters left out)"
