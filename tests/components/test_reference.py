"""The reference pages are what the code says today."""

from components.manifests import stack
from components.reference import __main__ as reference
from components.settings import Settings
from tests.components import stacks


def test_pages_are_up_to_date():
    for name, text in reference.pages().items():
        assert (reference.DOCS / name).read_text() == text, f"docs/{name} is out of date: run `make docs`"


def test_every_rule_of_every_role_has_its_row():
    """Read back from the page, and compared with what the stacks render."""
    rows = [
        line.split(" | ") for line in (reference.DOCS / "rbac.md").read_text().splitlines() if line.startswith("| `")
    ]
    granted = {(account.strip("| `"), frozenset(verbs.split()), what.strip("`")) for account, verbs, what, *_ in rows}
    rendered = set()
    for mapping in stacks.EXAMPLES.values():
        objects = {(o["kind"], o["metadata"]["name"]): o for o in stack.objects(Settings.parse(mapping))}
        for (kind, _), binding in objects.items():
            role = (
                objects.get((binding["roleRef"]["kind"], binding["roleRef"]["name"])) if "roleRef" in binding else None
            )
            for rule in role["rules"] if role else ():
                assert kind == f"{role['kind']}Binding"
                rendered.add((binding["subjects"][0]["name"], frozenset(rule["verbs"]), _what(rule)))
    assert rendered == granted


def _what(rule) -> str:
    found = rule.get("resourceNames", ())
    few = found if len(found) < 5 else (found[0], "...", found[-1])
    names = f" named {', '.join(few)}" if found else ""
    return ", ".join(f"{r}.{rule['apiGroups'][0]}".rstrip(".") for r in rule["resources"]) + names


def test_every_setting_is_explained():
    page = (reference.DOCS / "settings.md").read_text()
    assert "| empty |  |" not in page
    assert all(not line.endswith("|  |") for line in page.splitlines() if line.startswith("| `"))
