"""What a preview begins with, held against the objects and settings of the stack themselves."""

from collections import Counter

from components.engine.summary import summary
from components.manifests import stack
from components.settings import Settings
from components.settings.budget import exposure
from components.stack_values import StackValues
from tests.components.test_engine_command import run
from tests.components.variants import ROOT


def of(name):
    return StackValues.from_files(ROOT, name).settings()


def test_it_counts_the_objects_and_says_the_exposure():
    settings = of("dev")
    objects = stack.objects(settings)
    text = summary(settings)
    assert text.startswith(f"Objects: {len(objects)} (")
    for kind, count in Counter(manifest["kind"] for manifest in objects).items():
        assert f"{count} {kind}" in text
    assert f"at most {exposure(settings)} (play money: the stack has a sandbox; no cap)" in text


def test_real_money_and_its_cap_are_named():
    assert "(real money; cap: 5.00 USDC, budget.capUsdc)" in summary(of("prod"))


def test_every_binding_of_a_role_is_a_line_of_its_own_with_every_right():
    settings = of("dev")
    objects = stack.objects(settings)
    lines = summary(settings).partition("Rights:\n")[2].splitlines()
    bindings = [manifest for manifest in objects if manifest["kind"].endswith("RoleBinding")]
    names = [", ".join(subject["name"] for subject in binding["subjects"]) for binding in bindings]
    assert [line.split(", in ")[0].strip() for line in lines] == names
    for role in (manifest for manifest in objects if manifest["kind"] in ("Role", "ClusterRole")):
        for rule in role["rules"]:
            assert any("/".join(rule["verbs"]) in line and rule["resources"][0] in line for line in lines)


def test_a_stack_that_is_switched_off_says_so():
    assert summary(Settings.model_validate({"enabled": False})) == "Objects: none (purpleflea.enabled is false)"


def test_a_preview_begins_with_it_even_without_an_engine():
    done = run("preview", PATH="/nonexistent")
    assert done.stdout.startswith(summary(of("dev")))
