"""A replay for people: a table of what changed, a picture for the terminal, and one as SVG."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from components.autoscaling_sim.controller import SYNC_SECONDS
from components.autoscaling_sim.trace import Sync
from components.settings import usdc_text

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_WIDTH: Final = 72
Curve = tuple[str, str, Callable[[Sync], float | None]]


def curves(budget: Decimal) -> tuple[Curve, ...]:
    """What is drawn: name, colour, value. `budget` is a worker's, in USDC."""
    return (
        ("waiting", "#7c3aed", lambda sync: sync.depth),
        ("workers", "#0f766e", lambda sync: sync.replicas),
        ("locked at most, USDC", "#b45309", lambda sync: float(sync.replicas * budget)),
    )


def table(syncs: Sequence[Sync], budget: Decimal) -> Iterator[str]:
    """A line for each sync at which something changed."""
    yield f"{'second':>9}  {'waiting':>9}  {'wanted':>7}  {'workers':>7}  {'locked at most':>15}"
    before: tuple[int | None, int] | None = None
    for sync in syncs:
        if (sync.depth, sync.replicas) != before:
            before = sync.depth, sync.replicas
            depth, wanted = ("?" if value is None else f"{value}" for value in (sync.depth, sync.wanted))
            locked = usdc_text(sync.replicas * budget)
            yield f"{sync.second:9.0f}  {depth:>9}  {wanted:>7}  {sync.replicas:7}  {locked:>10} USDC"


def summary(syncs: Sequence[Sync], budget: Decimal) -> str:
    """What it came to."""
    most = max(sync.replicas for sync in syncs)
    hours = sum(sync.replicas for sync in syncs) * SYNC_SECONDS / 3600
    frozen = sum(sync.depth is None for sync in syncs) * SYNC_SECONDS
    words = f"most workers {most}, locked at most {usdc_text(most * budget)} USDC, {hours:.2f} worker-hours"
    return words + (f"; unknown for {frozen:.0f} s, in which nothing is scaled" if frozen else "")


def terminal(syncs: Sequence[Sync], budget: Decimal) -> Iterator[str]:
    """One row of blocks for each curve; `?` where it is unknown."""
    step = max(1, -(-len(syncs) // _WIDTH))
    for name, _, value in curves(budget):
        values = [value(sync) for sync in syncs]
        most = max((v for v in values if v is not None), default=0) or 1
        bars = ""
        for start in range(0, len(values), step):
            known = [v for v in values[start : start + step] if v is not None]
            bars += _BLOCKS[round(max(known) / most * 8)] if known else "?"
        yield f"{name:>21} {bars} {most:g}"


def svg(syncs: Sequence[Sync], budget: Decimal, title: str) -> str:
    """The same as a picture of its own, with steps as they were."""
    width, height, left, gap = 900, 150, 70, 45
    drawn = curves(budget)
    begun, ended = syncs[0].second, max(syncs[-1].second, syncs[0].second + 1)

    def across(second: float) -> float:
        return left + (second - begun) / (ended - begun) * (width - left - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{len(drawn) * (height + gap) + 40}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="20" font-size="15">{_escaped(title)}</text>',
    ]
    for row, (name, colour, value) in enumerate(drawn):
        top = 40 + row * (height + gap)
        most = max((v for v in map(value, syncs) if v is not None), default=0) or 1
        parts += [
            f'<text x="{left}" y="{top + 8}" fill="{colour}">{_escaped(name)}</text>',
            f'<path d="M{left} {top + 15}V{top + height}H{width - 20}" fill="none" stroke="#999"/>',
            f'<text x="{left - 6}" y="{top + 24}" text-anchor="end">{most:g}</text>',
            f'<text x="{left - 6}" y="{top + height}" text-anchor="end">0</text>',
            f'<text x="{width - 20}" y="{top + height + 16}" text-anchor="end">{ended - begun:.0f} s</text>',
        ]
        path, open_ = "", False
        for sync in syncs:
            found = value(sync)
            if found is None:
                open_ = False
                continue
            x, y = across(sync.second), top + height - found / most * (height - 20)
            path += f"H{x:.1f}V{y:.1f}" if open_ else f"M{x:.1f} {y:.1f}"
            open_ = True
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
