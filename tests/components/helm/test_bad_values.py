"""What the settings refuse, `helm install -f` refuses: by the schema or the templates, by the same path.

The rows are those of the settings' own tests, so a new rule that the chart does not know fails here.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from components.helm.values import NO_OBJECT
from components.settings import names
from runtime.schedule import Schedule
from tests.components.helm.rendering import Helm
from tests.components.manifests.test_overrides import REFUSED as OVERRIDES
from tests.components.settings import rules_table as rules
from tests.components.settings.test_bad_input import TABLE

OTHERWISE = {
    "a list for the whole": "no values file",
    "a key set without --path": "is Pulumi's",
    "no Secret and no agent id": "the chart asks for a Secret",
    "image of today": "the guide's own value; with `images.allowTag` only",
}
"""Rows that mean nothing in a values file, or something else, with the reason."""


def merged(base: Any, more: Any) -> Any:
    """As Helm merges values."""
    if not (isinstance(base, dict) and isinstance(more, dict)):
        return more
    return {**base, **{key: merged(base.get(key), value) for key, value in more.items()}}


class Values:
    """What is said to values: by the schema, as its places and words, and where that is content by the templates."""

    def __init__(self, chart: Path, helm: Helm, folder: Path) -> None:
        self.chart, self.helm, self.folder = chart, helm, folder
        self.schema = jsonschema_rs.validator_for(json.loads((chart / "values.schema.json").read_text()))
        self.defaults = yaml.safe_load((chart / "values.yaml").read_text())

    def by_schema(self, section: dict[str, Any]) -> str:
        errors = self.schema.iter_errors(merged(self.defaults, {"purpleflea": section}))
        return "\n".join(f"{_dotted(error.instance_path)}: {error.message}" for error in errors)

    def by_templates(self, section: dict[str, Any]) -> str:
        decided = merged({"images": {"runtime": "team/runtime:1", "allowTag": True}}, section)
        file = self.folder / f"{id(section)}.json"
        file.write_text(json.dumps({"purpleflea": decided}, ensure_ascii=False))
        done = self.helm.run("template", "pf", self.chart, "--values", file)
        return done.stderr if done.returncode else "nothing: it renders"


def _dotted(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


@pytest.fixture(scope="module")
def values(plain_chart, helm, tmp_path_factory):
    return Values(plain_chart, helm, tmp_path_factory.mktemp("values"))


def without_effect(section: dict[str, Any]) -> bool:
    return bool({*section} & {*NO_OBJECT})


ROWS = {
    **{name: row for name, row in TABLE.items() if name not in OTHERWISE and not without_effect(row[0])},
    **{
        f"in Kubernetes' words: {name}": ({"agents": [{"name": "a", **agent}]}, line)
        for name, (agent, line) in OVERRIDES.items()
    },
}


def together(rows: dict[str, tuple[dict[str, Any], str]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Rows in as few sections as go together, since Helm takes a third of a second each time, and their lines then."""
    section: dict[str, Any] = {"agents": []}
    lines = {}
    for name, (more, line) in rows.items():
        if {*more} == {"agents"}:
            line = line.replace("agents[0]", f"agents[{len(section['agents'])}]")
            section["agents"] += more["agents"]
        elif {*more} & {*section}:
            continue
        else:
            section |= more
        lines[name] = line
    return section, lines


def test_each_mistake_of_the_settings_tables_is_told_by_its_path(values):
    told = {name: values.by_schema(section) for name, (section, _) in ROWS.items()}
    untold = []
    for name, (_, line) in ROWS.items():
        above, _, key = line.partition(": ")[0].rpartition(".")
        if told[name] and not (above in told[name] and key in told[name]):
            untold.append(f"{name}: {line}, the schema says {told[name]}")
    rest = {name: row for name, row in ROWS.items() if not told[name]}
    section, lines = together(rest)
    answer = values.by_templates(section)
    rest = {name: row for name, row in rest.items() if lines.get(name, row[1]) not in answer}  # what others have hidden
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda row: values.by_templates(row[0]), rest.values())
        for (name, (_, line)), said in zip(rest.items(), answers, strict=True):
            untold += [] if line in said else [f"{name}: {line}, told is {said}"]
    assert not untold, "\n\n".join(untold)


def mistake(check, text: str) -> str:
    """What the settings say of a text; empty where they take it."""
    try:
        check(text)
    except ValueError as error:
        return str(error)
    return ""


def test_schedules_zones_and_networks_are_read_as_the_settings_read_them(values):
    schedules = [text for text in (*rules.SCHEDULE.accepted, *rules.SCHEDULE.refused) if text]
    zones = [*rules.ZONE.accepted, *rules.ZONE.refused]
    networks = [*rules.CIDR.accepted, *rules.CIDR.refused]
    agents = [{"name": f"s{n}", "schedule": text} for n, text in enumerate(schedules)]
    agents += [{"name": f"z{n}", "timeZone": text} for n, text in enumerate(zones)]
    section = {"agents": agents, "networkPolicy": {"egress": {"cidrs": networks}}}
    assert values.by_schema(section) == ""
    wanted = {f"agents[{n}].schedule": mistake(Schedule.parse, text) for n, text in enumerate(schedules)}
    wanted |= {f"agents[{n + len(schedules)}].timeZone": mistake(names.time_zone, text) for n, text in enumerate(zones)}
    wanted |= {f"networkPolicy.egress.cidrs[{n}]": mistake(names.cidr, text) for n, text in enumerate(networks)}
    told = dict(
        line.strip().split(": ", 1) for line in values.by_templates(section).splitlines() if "purpleflea." in line
    )
    told.pop("Error", None)
    assert {key for key, text in wanted.items() if text} == {key.removeprefix("purpleflea.") for key in told}
    assert {k: v for k, v in wanted.items() if v and "cidrs" not in k} == {
        k.removeprefix("purpleflea."): v for k, v in told.items() if "cidrs" not in k
    }


PLACES = {
    "an image": (rules.IMAGE, lambda text: {"images": {"runtime": text}}),
    "a variable": (rules.VARIABLE, lambda text: {"worker": {"env": {text: "x"}}}),
    "a Secret's key": (rules.DATA_KEY, lambda text: {"credentials": {"apiKeyKey": text}}),
    "a label": (rules.LABEL_KEY, lambda text: {"networkPolicy": {"dns": {"podLabels": {text: "a"}}}}),
    "a label's value": (rules.LABEL_VALUE, lambda text: {"networkPolicy": {"dns": {"podLabels": {"a": text}}}}),
    "a namespace": (rules.DNS_LABEL, lambda text: {"namespace": text}),
    "a name": (rules.DNS_NAME, lambda text: {"credentials": {"existingSecret": text}}),
    "a quantity": (rules.QUANTITY, lambda text: {"sandbox": {"resources": {"limits": {"memory": text}}}}),
}


@pytest.mark.parametrize("name", PLACES)
def test_other_texts_are_refused_by_the_schema(values, name):
    row, section = PLACES[name]
    assert [text for text in row.accepted if values.by_schema(section(text))] == []
    nothing = "" if name == "a name" else None  # as if it were not given
    assert [text for text in row.refused if text != nothing and not values.by_schema(section(text))] == []
