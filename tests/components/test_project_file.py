"""`Pulumi.yaml` is what Pulumi's own Python language host accepts, and what is installed from a fresh clone."""

import yaml

from components.manifests.stack import objects
from tests.components.variants import ROOT, VARIANTS

TOOLCHAINS = ("pip", "poetry", "uv")
TYPE_CHECKERS = ("mypy", "pyright")
"""The host refuses every other word before the program starts, `none` too; nothing else in the project would notice."""


def test_the_host_accepts_every_option():
    runtime = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["runtime"]
    assert runtime["name"] == "python"
    options = runtime["options"]
    assert {*options} <= {"toolchain", "virtualenv", "typechecker"}
    assert options.get("toolchain", "pip") in TOOLCHAINS
    assert options.get("typechecker", "mypy") in TYPE_CHECKERS
    assert isinstance(options.get("virtualenv", ""), str)


def test_the_plugins_host_accepts_every_option_too():
    options = yaml.safe_load((ROOT / "plugin/PulumiPlugin.yaml").read_text())["runtime"]["options"]
    assert options.get("toolchain", "pip") in TOOLCHAINS
    assert options.get("typechecker", "mypy") in TYPE_CHECKERS


def test_a_fresh_clone_installs_the_pinned_set_by_itself():
    """With `toolchain: pip` the host installs the `requirements.txt` beside `Pulumi.yaml`, and without one nothing."""
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["-r requirements/pulumi.txt"]
    assert "--hash=sha256:" in (ROOT / "requirements/render.txt").read_text()


def test_no_stack_runs_a_program_that_does_not_exist():
    """Once it does, the stacks switch it on: neither may be forgotten."""
    for name in ("dev", "prod"):
        settings = VARIANTS[name].settings()
        run = {module for manifest in objects(settings) for module in _modules(manifest)}
        assert {module for module in run if not _exists(module)} == set(), name
        on = {module for module, section in SECTIONS.items() if getattr(settings, section).enabled}
        assert on | LEFT_OFF.get(name, set()) == {module for module in SECTIONS if _exists(module)}, name


SECTIONS = {"agent_worker": "worker", "payroll": "payroll", "metrics_server": "hpa", "mcp_proxy": "mcp"}
"""Program of the runtime image → section of a stack that runs it."""
LEFT_OFF = {"dev": {"metrics_server"}}
"""A stack to try things on needs no autoscaler, and the metrics API exists once on a cluster."""


def _exists(module):
    runtime = ROOT / "runtime"
    return (runtime / f"{module}.py").exists() or (runtime / module / "__main__.py").exists()


def _modules(value):
    """Every `python -m runtime.<module>` in a manifest."""
    if isinstance(value, dict):
        if isinstance(command := value.get("command"), list) and command[:2] == ["python", "-m"]:
            yield command[2].removeprefix("runtime.")
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _modules(item)
