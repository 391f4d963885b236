"""Everything by which somebody may do more than before, whoever asks: a report or a policy."""

from collections.abc import Iterable

from components.rules import guards, network, pods, rights
from components.rules.pairs import Pair


def widened(pairs: Iterable[Pair]) -> list[str]:
    """A sentence for each right, guard, way and pod that has become wider."""
    pairs = [*pairs]
    before = [one.before for one in pairs if one.before]
    after = [one.after for one in pairs if one.after]
    found = [*rights.widened(before, after), *guards.loosened(before, after), *network.widened(before, after)]
    was, now = pods.accounts(before), pods.accounts(after)
    for one in pairs:
        if one.after is not None:
            gained = pods.powers(one.after, now) - (pods.powers(one.before, was) if one.before else set())
            found += [f"{one.named} {power}" for power in sorted(gained)]
    return found
