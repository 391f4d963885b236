"""`make render`: the same bytes everywhere, nobody's files harmed, one clear message for what is wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from components.manifests.stack import PLACEHOLDER, objects
from components.synth.__main__ import main
from components.synth.output_folder import LISTING
from components.synth.rendering import render
from tests.components.variants import ROOT, VARIANTS, stack

OBJECT = re.compile(r"(foundation|kubernetes)/(?!kustomization)")
RUNS = ("CronJob", "Deployment", "Job")
SCALES = ("HorizontalPodAutoscaler", "ScaledObject", "TriggerAuthentication")


@pytest.fixture(scope="module")
def dev():
    return render(VARIANTS["dev"])


@pytest.fixture
def project(tmp_path):
    """A copy of the project's stack files, to be spoilt."""
    for file in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_files_hold_every_object_once_and_the_kustomization_names_them(dev):
    found = [yaml.safe_load(text) for path, text in dev.items() if OBJECT.match(path)]
    wanted = objects(VARIANTS["dev"].settings(), "pf_sandbox_0000000000000000")
    assert sorted(map(json.dumps, map(_sorted, found))) == sorted(map(json.dumps, map(_sorted, wanted)))
    applied = _listed(dev, "foundation/") + _listed(dev)
    assert sorted(applied) == sorted(path for path in dev if OBJECT.match(path))
    assert applied[0] == "foundation/namespace.yaml"


def test_the_readme_says_how_many_files_there_are(tmp_path, capsys):
    assert main(["--stack", "dev", "--out", str(tmp_path)]) == 0
    [told] = re.findall(r"\d+ files, \d+ changed", capsys.readouterr().out)
    assert told in (ROOT / "README.md").read_text()


def test_what_is_left_to_an_administrator_has_a_kustomization_of_its_own():
    whole = render(stack())
    files = render(stack(createCrd=False, createPolicies=False, createNamespace=False))
    left = _listed(files, "administrator/")
    assert left[0].startswith("administrator/customresourcedefinition-")
    kinds = {yaml.safe_load(files[path])["kind"] for path in left}
    assert len(left) == 16
    assert not kinds & {yaml.safe_load(files[path])["kind"] for path in files if OBJECT.match(path)}
    moved = {path.partition("/")[2] for path in left} | {"namespace.yaml"}
    assert {path.partition("/")[2] for path in whole if OBJECT.match(path)} == moved | {
        path.partition("/")[2] for path in files if OBJECT.match(path)
    }
    assert "kubectl apply -k administrator" in files["README.md"]
    assert "kubectl label namespace agent-jobs pod-security.kubernetes.io/enforce=restricted" in files["README.md"]
    assert "administrator" not in whole["README.md"]


def _listed(files, folder=""):
    """The files of one kustomization, in its order, which `kubectl` takes to apply and to delete."""
    kustomization = yaml.safe_load(files[f"{folder}kustomization.yaml"])
    assert kustomization["sortOptions"] == {"order": "fifo"}
    return [f"{folder}{path}" for path in kustomization["resources"]]


def _kinds(files, folder=""):
    return [yaml.safe_load(files[path])["kind"] for path in _listed(files, folder)]


@pytest.mark.parametrize("name", VARIANTS)
def test_what_an_operator_needs_to_settle_is_in_the_foundation_and_nothing_that_runs(name):
    """It comes before any pod, and is there until the last has ended, for the foundation goes last."""
    files = render(VARIANTS[name])
    assert {*_kinds(files, "foundation/")} & {*RUNS} == set()
    assert {*_kinds(files)} <= {*RUNS, "APIService", "Certificate", "Issuer", "PodDisruptionBudget", *SCALES}


@pytest.mark.parametrize("name", VARIANTS)
def test_jobs_are_deleted_before_the_operator_is_told_to_stop(name):
    """It then settles what is deleted at that moment, and nothing that is deleted later."""
    kinds = _kinds(render(VARIANTS[name]))
    held = [place for place, kind in enumerate(kinds) if kind in ("CronJob", "Job")]
    assert held == [*range(len(held))]


def _sorted(value):
    return json.loads(json.dumps(value, sort_keys=True))


def test_the_index_says_what_each_file_is_for(dev):
    rows = re.findall(r"^\| \[(.+?)\]\(.+?\) \| .+ \| (.*) \|$", dev["README.md"], re.M)
    assert {path for path, _ in rows} == {path for path in dev if path != "README.md" and "kustomization" not in path}
    assert all(purpose for _, purpose in rows)


def test_a_secret_is_a_placeholder_with_a_way_to_supply_it_and_is_not_applied():
    values = stack(sandbox={"enabled": False}, credentials={"existingSecret": "", "agentWallet": "w"})
    files = render(values)
    path = "foundation/secret-purpleflea-creds.yaml"
    assert yaml.safe_load(files[path])["stringData"]["api-key"] == PLACEHOLDER
    assert "kubectl create secret generic purpleflea-creds -n agent-jobs" in files[path]
    assert path not in _listed(files, "foundation/") + _listed(files)


def test_a_text_that_reads_like_the_placeholder_is_no_secret():
    files = render(stack(agents=[{"name": "a", "task": f"explain {PLACEHOLDER}"}, {"name": "b", "task": PLACEHOLDER}]))
    assert {"kubernetes/job-a.yaml", "kubernetes/job-b.yaml"} <= {*_listed(files)}


def test_a_key_that_a_sandbox_stack_sets_is_not_rendered_either():
    values = stack()
    keyed = replace(values, values={**values.values, "purpleflea:apiKey": ""}, secret_keys={"purpleflea:apiKey"})
    path = "foundation/secret-purpleflea-creds.yaml"
    assert yaml.safe_load(render(values)[path])["stringData"]["api-key"] == "pf_sandbox_0000000000000000"
    assert yaml.safe_load(render(keyed)[path])["stringData"]["api-key"] == PLACEHOLDER


def test_what_hashes_differently_is_written_the_same(tmp_path):
    outputs = []
    for seed in ("0", "1", "4242"):
        out = tmp_path / seed
        command = [sys.executable, "-m", "components.synth", "--out", str(out)]
        subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
        outputs.append(tree(out))
    assert outputs[0] == outputs[1] == outputs[2]
    assert str(ROOT).encode() not in b"".join(outputs[0].values())


def test_pure_python_yaml_writes_the_same_bytes_as_libyaml(dev):
    """A machine whose PyYAML came without libyaml must not see a diff."""
    program = (
        "import yaml; del yaml.CSafeDumper, yaml.CSafeLoader\nfrom components.synth.__main__ import main\n"
        "raise SystemExit(main(['--check', '--out', '/nonexistent']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    added = "".join(line[1:] for line in done.stdout.splitlines(keepends=True) if re.match(r"\+(?!\+\+)", line))
    assert added == "".join(dev[path] for path in sorted(dev))


def test_check_shows_a_unified_diff_and_leaves_everything_as_it_is(tmp_path, capsys):
    assert main(["--out", str(tmp_path)]) == 0
    assert main(["--out", str(tmp_path), "--check"]) == 0
    job = tmp_path / "dev/kubernetes/job-pf-agent-job.yaml"
    job.write_text(job.read_text().replace("backoffLimit: 2", "backoffLimit: 3"))
    before = tree(tmp_path)
    capsys.readouterr()
    assert main(["--out", str(tmp_path), "--check"]) == 1
    shown = capsys.readouterr()
    assert "--- a/kubernetes/job-pf-agent-job.yaml" in shown.out
    assert "-  backoffLimit: 3\n+  backoffLimit: 2" in shown.out
    assert "run `make render`" in shown.err
    assert tree(tmp_path) == before


def test_stale_files_go_and_foreign_files_stay(project, tmp_path):
    out = tmp_path / "dist"
    assert main(["--out", str(out)], root=project) == 0
    (out / "dev/kubernetes/mine.yaml").write_text("kept: true\n")
    (project / "Pulumi.dev.yaml").write_text(
        "config: {purpleflea:sandbox: {enabled: true}, purpleflea:payroll: {enabled: false}}"
    )
    assert main(["--out", str(out)], root=project) == 0
    assert not (out / "dev/kubernetes/cronjob-pf-agent-payroll.yaml").exists()
    assert (out / "dev/kubernetes/mine.yaml").read_text() == "kept: true\n"
    assert {*tree(out / "dev")} > {LISTING, "README.md", "kustomization.yaml", "agent-config.json"}


BAD_STACKS = {
    "unknown key": (
        "config: {purpleflea:hpa: {minReplica: 3}}",
        r"purpleflea\.hpa\.minReplica: unknown key .*minReplicas",
    ),
    "unknown section": (
        "config: {purpleflea:hpaa: {}}",
        r"purpleflea\.hpaa: unknown key \(allowed: hpa, .*; did you mean hpa\?",
    ),
    "wrong type": (
        "config: {purpleflea:hpa: {minReplicas: many}}",
        r"purpleflea\.hpa\.minReplicas: .* is needed, not 'many'",
    ),
    "negative": ("config: {purpleflea:budget: {capUsdc: '-1'}}", r"purpleflea\.budget\.capUsdc: "),
    "seven decimals": ("config: {purpleflea:budget: {capUsdc: '0.0000001'}}", r"at most six decimals"),
    "a float": ("config: {purpleflea:budget: {capUsdc: 0.1}}", r"write the amount in quotes"),
    "impossible cron": ("config: {purpleflea:payroll: {schedule: '0 0 32 * *'}}", r"purpleflea\.payroll\.schedule: "),
    "a typing error in a section": (
        "conf: {purpleflea:sandbox: {enabled: true}}",
        r"conf: unknown section; did you mean config\?",
    ),
    "an empty file": ("", r"Pulumi\.dev\.yaml: `config` is missing or empty"),
    "only comments": ("# nothing yet\n", r"Pulumi\.dev\.yaml: `config` is missing or empty"),
    "a config without content": ("config:\n", r"Pulumi\.dev\.yaml: `config` is missing or empty"),
    "a snippet without its place": ("purpleflea:sandbox: {enabled: true}", r"settings stand below `config`"),
    "a snippet without its prefix": ("sandbox: {enabled: true}", r"`config: \{purpleflea:sandbox: \.\.\.\}`"),
    "a snippet of the whole": ("purpleflea: {sandbox: {enabled: true}}", r"settings stand below `config`"),
    "a key twice": (
        "config: {purpleflea:budget: {capUsdc: '9', capUsdc: '1'}}",
        r"the key 'capUsdc' stands twice, first in line 1",
    ),
    "a section twice": ("config: {hpa: {}, purpleflea:hpa: {}}", r"'purpleflea:hpa' stands twice"),
    "a section with nothing": (
        "config: {purpleflea:hpa: }",
        r"purpleflea\.hpa: a mapping of keys is needed, not nothing",
    ),
    "an environment": ("config: {}\nenvironment: [base]", r"environment: only the engine with Pulumi Cloud"),
    "same name twice": ("config: {purpleflea:agents: [{name: a}, {name: a}]}", r"purpleflea\.agents"),
    "long name": (f"config: {{purpleflea:agents: [{{name: {'a' * 60}}}]}}", r"purpleflea\.agents\[0\]\.name"),
    "not YAML": ("config: {", r"Pulumi\.dev\.yaml is not valid YAML: .*line"),
    "a list": ("- a\n", r"Pulumi\.dev\.yaml: a mapping with the key `config` is needed, not a list"),
    "config a list": ("config: [a]\n", r"`config` must be a mapping of keys, not a list"),
    "key in plain text": ("config: {purpleflea:apiKey: pf_live_1}", r"purpleflea\.apiKey: stands in plain text"),
    "encrypted elsewhere": ("config: {purpleflea:api: {secure: v1:x}}", r"purpleflea\.api: is encrypted, but only"),
    "over the cap": (
        "config: {purpleflea:sandbox: {enabled: true}, purpleflea:budget: {capUsdc: '1'}}",
        r"20 workers x 0\.10",
    ),
    "no wallet": ("config: {purpleflea:credentials: {existingSecret: ''}}", r"purpleflea\.credentials\.agentWallet"),
    "section is a text": ("config: {purpleflea:hpa: off-and-on}", r"purpleflea\.hpa: a mapping of keys is needed"),
}


@pytest.mark.parametrize("name", BAD_STACKS)
def test_bad_input_is_one_message_exit_code_2_and_nothing_written(name, project, tmp_path, capsys):
    text, message = BAD_STACKS[name]
    (project / "Pulumi.dev.yaml").write_text(text)
    out = tmp_path / "dist"
    assert main(["--out", str(out)], root=project) == 2
    shown = capsys.readouterr()
    assert re.search(message, shown.err), shown.err
    assert "Traceback" not in shown.err
    assert "pf_live_1" not in shown.err + shown.out
    assert not shown.out
    assert not out.exists()


def test_a_stack_that_does_not_exist_lists_those_that_do(project, capsys):
    for name in ("nope", "../dev", ""):
        assert main(["--stack", name], root=project) == 2
        assert "stacks: dev, prod" in capsys.readouterr().err


def test_unreadable_and_unwritable_places(project, tmp_path, capsys):
    (project / "Pulumi.dev.yaml").write_bytes(b"\xff\xfe\x00")
    assert main([], root=project) == 2
    assert "is not UTF-8 text" in capsys.readouterr().err
    (tmp_path / "file").write_text("no folder")
    assert main(["--out", str(tmp_path / "file")]) == 2
    assert "Not a directory" in capsys.readouterr().err
    (tmp_path / "dist/dev").mkdir(parents=True)
    (tmp_path / "dist/dev/README.md").write_text("mine")
    assert main(["--out", str(tmp_path / "dist")]) == 2
    assert "move them away first" in capsys.readouterr().err
    assert {*tree(tmp_path / "dist")} == {"dev/README.md"}


def test_rendering_needs_nothing_but_its_own_requirements(tmp_path):
    program = (
        f"import sys; from components.synth.__main__ import main; assert main(['--out', {str(tmp_path)!r}]) == 0\n"
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = done.stdout.rpartition("MODULES ")[2].split()
    allowed = {
        re.split(r"[=\s;]", line)[0].lower()
        for line in Path(ROOT / "requirements/render.txt").read_text().splitlines()
        if re.match(r"\w", line)
    }
    owners = packages_distributions()
    needed = {re.sub(r"[-_.]+", "-", owner).lower() for module in loaded for owner in owners.get(module, [])}
    # Start-up hooks of the environment, and what a dependency takes only where it is there, are no requirement.
    assert needed - allowed - {"setuptools", "pip", "psutil"} == set()
