"""Who may do what, from Roles and bindings; and what of it somebody could not do before."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from components.manifests.naming import Manifest

_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")
_WHOLE = "<role>"
"""In place of a group: the right is a role that is declared elsewhere, so nobody here knows what it permits."""
_URL = "<url>"


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one kind of thing. `where`: a namespace, empty for the whole cluster; `name`: empty for all."""

    who: str
    where: str
    group: str
    resource: str
    name: str
    verb: str

    def covers(self, other: "Right") -> bool:
        """Whether whoever has this one has the other one too."""
        return (
            self.who == other.who
            and self.where in ("", other.where)
            and (self.group in (other.group, "*") if other.group not in (_WHOLE, _URL) else self.group == other.group)
            and _matches(self.resource, other.resource, self.group)
            and self.name in ("", other.name)
            and self.verb in (other.verb, "*")
        )


def widened(before: Iterable[Manifest], after: Iterable[Manifest]) -> list[str]:
    """A sentence for each right that somebody gains."""
    had: dict[str, set[Right]] = defaultdict(set)
    for right in _rights(before):
        had[right.who].add(right)
    gained: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for right in _rights(after):
        known = had[right.who]
        if right not in known and not any(one.covers(right) for one in known):
            gained[right.who, right.where, right.group, right.resource, right.name].add(right.verb)
    return [_sentence(*key, verbs=sorted(verbs)) for key, verbs in sorted(gained.items())]


def _sentence(who: str, where: str, group: str, resource: str, name: str, *, verbs: list[str]) -> str:
    place = f"in namespace {where}" if where else "in the whole cluster"
    if group == _WHOLE:
        return f"{who} gains {resource}, {place}"
    things = _things(group, resource)
    only = f" {name}" if name else ""
    every = "every verb" if "*" in verbs else f"verb{'s' if len(verbs) > 1 else ''} {', '.join(verbs)}"
    return f"{who} gains {every} on {things}{only}, {place}"


def _things(group: str, resource: str) -> str:
    if group == _URL:
        return resource
    if resource != "*" and group != "*":
        return f"{resource}.{group}" if group else resource
    of = {"*": "every group", "": "the core group"}.get(group, group)
    return f"{'every resource' if resource == '*' else resource} of {of}"


def _matches(pattern: str, resource: str, group: str) -> bool:
    if pattern in ("*", resource):
        return True
    if group == _URL:
        return pattern.endswith("*") and resource.startswith(pattern[:-1])
    return pattern.startswith("*/") and resource.partition("/")[2] == pattern[2:]


def _rights(objects: Iterable[Manifest]) -> Iterator[Right]:
    objects = [*objects]
    roles = {_key(one): one for one in objects if one["kind"] in _ROLES}
    bound = set()
    for binding in objects:
        if binding["kind"] not in _BINDINGS:
            continue
        where, reference = binding["metadata"].get("namespace", ""), binding["roleRef"]
        key = (reference["kind"], where if reference["kind"] == "Role" else "", reference["name"])
        bound.add(key)
        for subject in binding.get("subjects") or ():
            yield from _permitted(_subject(subject, where), where, key, roles.get(key))
    for key, role in roles.items():
        if key not in bound:  # by somebody elsewhere, perhaps
            yield from _permitted(f"whoever is bound to {key[0]} {key[2]}", key[1], key, role)


def _permitted(who: str, where: str, key: tuple[str, str, str], role: Manifest | None) -> Iterator[Right]:
    if role is None:
        yield Right(who, where, _WHOLE, f"what {key[0]} {key[2]} permits, which is declared elsewhere", "", "")
        return
    if "aggregationRule" in role:
        added = json.dumps(role["aggregationRule"], sort_keys=True)
        yield Right(who, where, _WHOLE, f"what ClusterRole {key[2]} aggregates by {added}", "", "")
    for rule in role.get("rules") or ():
        for verb in rule["verbs"]:
            for url in rule.get("nonResourceURLs") or ():
                yield Right(who, where, _URL, url, "", verb)
            for group in rule.get("apiGroups") or ():
                for resource in rule.get("resources") or ():
                    for name in rule.get("resourceNames") or ("",):
                        yield Right(who, where, group, resource, name, verb)


def _key(role: Manifest) -> tuple[str, str, str]:
    return role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]


def _subject(subject: Manifest, where: str) -> str:
    if subject["kind"] != "ServiceAccount":
        return f"{subject['kind']} {subject['name']}"
    return f"ServiceAccount {subject.get('namespace', where)}/{subject['name']}"
