"""What a reviewer is told of a change: money, rights, images; exact, bounded, and nothing of a Secret."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.diff_report.__main__ import main
from components.diff_report.rendered import Rendered
from components.diff_report.review import Review
from components.diff_report.text import LIMIT, markdown
from components.helm.__main__ import main as make_chart
from components.rules.pairs import differing
from components.synth.rendering import render
from tests.components.variants import ROOT, many_agents, stack

JOB = "kubernetes/job-pf-agent-job.yaml"
OPERATOR = "kubernetes/deployment-pf-escrow-operator.yaml"


def write(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture(scope="module")
def rendered():
    """Files of one stack."""
    return render(stack(funding={"mode": "request"}, agents=[{"name": "pf-agent-job", "payee": "w-7"}]))


@pytest.fixture
def base(tmp_path, rendered):
    return write(tmp_path / "base", rendered)


@pytest.fixture
def head(tmp_path, rendered):
    return write(tmp_path / "head", rendered)


def edit(folder, path, change):
    manifest = yaml.safe_load((folder / path).read_text())
    change(manifest)
    (folder / path).write_text(yaml.safe_dump(manifest))


def report(capsys, *arguments, code=1):
    """The report as JSON, of the one stack or of all, and as Markdown."""
    words = [str(one) for one in arguments]
    assert main([*words, "--json", "-"]) == code
    found = json.loads(capsys.readouterr().out)
    assert main(words) == code
    return found["stacks"], capsys.readouterr().out


def one(capsys, base, head, code=1):
    stacks, shown = report(capsys, base, head, code=code)
    [found] = stacks.values()
    return found, shown


def test_no_difference_is_exit_code_0_and_says_so(base, head, capsys):
    found, shown = one(capsys, base, head, code=0)
    assert "Nothing changes." in shown
    assert found["newWork"] == found["widened"] == found["images"] == found["files"] == []
    assert found["objects"] == {"added": [], "removed": [], "changed": []}


def test_a_chart_in_the_folder_of_its_stack_is_no_file_of_it(base, head, capsys):
    assert make_chart(["--stack", "dev", "--out", f"{head.parent}"]) == 0
    shutil.copytree(head.parent / "dev", head, dirs_exist_ok=True)
    assert [*head.glob("chart/Chart.yaml"), *head.glob("*.tgz")], "both are there"
    capsys.readouterr()
    found, _ = one(capsys, base, head, code=0)
    assert found["files"] == []


def test_another_content_is_new_work_and_the_same_id_is_not(tmp_path, base, capsys):
    agent = {"name": "pf-agent-job", "payee": "w-7", "task": "another", "budgetUsdc": "0.25"}
    changed = render(stack(funding={"mode": "request"}, agents=[agent]))
    found, shown = one(capsys, base, write(tmp_path / "other", changed))
    [told] = found["newWork"]
    assert re.fullmatch(r"Job agent-jobs/pf-agent-job-\w{8}: pf-agent-job-\w{8}: 0\.25 USDC to w-7", told)
    assert told in shown
    [(job, was)] = [(c["object"], c["was"]) for c in found["objects"]["changed"] if c["object"].startswith("Job")]
    assert job != was
    assert found["objects"]["added"] == found["objects"]["removed"] == []
    kept = [
        write(
            tmp_path / name, render(stack(funding={"mode": "request"}, agents=[{**agent, "workId": "w", "task": name}]))
        )
        for name in ("one", "two")
    ]
    found, _ = one(capsys, *kept)
    assert found["newWork"] == []
    assert "work w was there before" in found["sameWork"][0]


def test_a_schedule_pays_each_run_and_is_told_when_it_changes(tmp_path, capsys):
    def at(name, **agent):
        agents = [{"name": "nightly", "payee": "w", "schedule": "0 3 * * *", **agent}]
        return write(tmp_path / name, render(stack(funding={"mode": "request"}, agents=agents)))

    before = at("before")
    found, _ = one(capsys, before, at("hourly", schedule="0 * * * *"))
    assert found["newWork"] == ["CronJob agent-jobs/nightly: nightly, each run of '0 * * * * Etc/UTC': 0.10 USDC to w"]
    assert one(capsys, before, at("payee", payee="x"))[0]["newWork"][0].endswith("0.10 USDC to x")
    assert one(capsys, before, at("deadline", resources={"limits": {"cpu": "2"}}))[0]["newWork"] == []


def test_exposure_is_exact_and_what_is_unknown_is_said(base, head, capsys):
    def most(folder, text):
        config = json.loads((folder / "agent-config.json").read_text())
        config["maximumExposure"]["totalUsdc"] = text
        (folder / "agent-config.json").write_text(json.dumps(config))

    most(base, "40.40")
    most(head, "60.60")
    found, shown = one(capsys, base, head)
    assert "**Maximum exposure: 40.40 → 60.60 USDC**, fees included (play money)" in shown
    assert [found["exposure"][side]["totalUsdc"] for side in ("before", "after")] == ["40.40", "60.60"]
    most(base, 40.4)
    found, shown = one(capsys, base, head)
    assert "unknown → 60.60 USDC" in shown
    assert found["exposure"]["before"]["totalUsdc"] is None
    (base / "agent-config.json").write_text("{")
    assert "Unknown, because agent-config.json cannot be read." in one(capsys, base, head)[1]
    (base / "agent-config.json").unlink()
    (base / ".purpleflea-files").touch()
    assert "Unknown, because there is no agent-config.json." in one(capsys, base, head)[1]


def test_real_money_in_place_of_play_money_and_a_key_without_bounds(base, head, capsys):
    config = json.loads((head / "agent-config.json").read_text())
    config["sandbox"], config["maximumExposure"]["wholeBalance"] = False, ["nightly"]
    (head / "agent-config.json").write_text(json.dumps(config))
    shown = one(capsys, base, head)[1]
    assert re.search(r"[\d.]+ \(play money\) → [\d.]+ \(real money, and whole balances\) USDC", shown)
    assert "what `nightly` can spend: its container holds the payer's key" in shown


def test_rights_pods_and_images_are_told(base, head, capsys):
    def gain(role):
        role["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"]})

    def spoil(deployment):
        pod = deployment["spec"]["template"]["spec"]
        pod["containers"][0]["image"] = "team/runtime:2"
        pod["hostNetwork"] = True

    edit(head, "foundation/role-pf-escrow-operator.yaml", gain)
    edit(head, OPERATOR, spoil)
    (head / "foundation/networkpolicy-pf-default-deny.yaml").unlink()
    found, shown = one(capsys, base, head)
    assert "ServiceAccount agent-jobs/pf-operator-sa gains verb delete on secrets, in namespace agent-jobs" in shown
    assert "Deployment agent-jobs/pf-escrow-operator breaks the restricted level: hostNetwork" in found["widened"]
    assert (
        "in namespace agent-jobs, every pod may be reached from anybody: no policy isolates them any more"
        in found["widened"]
    )
    place = "Deployment agent-jobs/pf-escrow-operator: operator"
    assert found["images"] == [
        {"before": "team/runtime:1", "after": "team/runtime:2", "mutable": True, "places": [place]}
    ]
    assert f"team/runtime:1 → team/runtime:2 (MUTABLE: no digest), in {place}" in shown
    fields = {c["object"]: c["fields"] for c in found["objects"]["changed"]}
    assert fields["Deployment agent-jobs/pf-escrow-operator"] == [
        "spec.template.spec.containers[operator].image",
        "spec.template.spec.hostNetwork (added)",
    ]
    assert found["objects"]["removed"] == ["NetworkPolicy agent-jobs/pf-default-deny"]


def test_no_value_of_a_secret_is_shown_whatever_state_it_is_in(base, head, capsys):
    path, value = "foundation/secret-purpleflea-creds.yaml", "pf_live_planted_0123456789"
    edit(head, path, lambda secret: secret["stringData"].update({"api-key": value}))
    found, shown = one(capsys, base, head)
    [changed] = found["objects"]["changed"]
    assert changed == {"object": "Secret agent-jobs/purpleflea-creds", "was": None, "fields": ["stringData.api-key"]}
    shown = [json.dumps(found), shown]
    for spoilt in (
        f"stringData: [{value}]",
        f"data: {{a: {value}!}}",
        f"stringData: {{a: [{value}]}}",
        f"a: {value}: b",
        f"'{value}",
    ):
        (base / path).write_text(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: purpleflea-creds}}\n{spoilt}\n")
        shown.append(json.dumps(report(capsys, base, head)))
    assert main([str(head), str(base)]) == 2
    shown.append("".join(capsys.readouterr()))
    assert "foundation/secret-purpleflea-creds.yaml: is no YAML" in shown[-1]
    assert [text for text in shown if value in text] == []


def test_a_base_that_cannot_be_read_is_said_and_the_rest_is_compared(base, head, capsys):
    (base / JOB).write_text("kind: [")
    (base / OPERATOR).write_bytes(b"\xff")
    (base / "kubernetes/other.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: 3\n")
    found, shown = one(capsys, base, head)
    assert [problem.partition(":")[0] for problem in found["problems"]] == [OPERATOR, JOB, "kubernetes/other.yaml"]
    assert found["base"] == "read in part"
    assert "Not all of the base could be read" in shown
    assert len(found["objects"]["added"]) == 2
    assert found["objects"]["changed"] == []
    assert main([str(head), str(base)]) == 2
    assert f"base: {JOB}: is no YAML that Kubernetes takes, at line 2" in capsys.readouterr().err


def test_a_renamed_object_is_one_object(base, head, capsys):
    path = "foundation/serviceaccount-pf-worker-sa.yaml"
    edit(head, path, lambda account: account["metadata"].update(name="renamed"))
    (head / path).rename(head / "foundation/serviceaccount-renamed.yaml")
    found, _ = one(capsys, base, head)
    [changed] = found["objects"]["changed"]
    assert (changed["object"], changed["was"]) == (
        "ServiceAccount agent-jobs/renamed",
        "ServiceAccount agent-jobs/pf-worker-sa",
    )
    assert changed["fields"] == ["metadata.name"]


def test_stacks_that_are_new_or_gone(tmp_path, rendered, capsys):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, name in ((before, "both"), (after, "both"), (before, "gone"), (after, "new")):
        write(folder / name, rendered)
    stacks, shown = report(capsys, before, after)
    assert [(name, one["base"], one["head"]) for name, one in stacks.items()] == [
        ("both", "read", "read"),
        ("gone", "read", "absent"),
        ("new", "absent", "read"),
    ]
    assert re.search(r"Maximum exposure: no stack → [\d.]+ USDC", shown)
    assert re.search(r"Maximum exposure: [\d.]+ → no stack USDC", shown)
    assert stacks["new"]["newWork"]
    assert stacks["gone"]["newWork"] == []
    assert (
        "Namespace agent-jobs (what it holds goes with it: accounts, ledgers or keys)"
        in stacks["gone"]["objects"]["removed"]
    )
    assert report(capsys, before, after, "--stack", "both", code=0)[0].keys() == {"both"}


def test_a_large_difference_fits_into_a_comment_and_says_what_it_left_out(tmp_path, base, capsys):
    large = write(tmp_path / "large", render(many_agents(40)))
    found, shown = one(capsys, base, large)
    assert "left out here" not in shown
    assert main([str(base), str(large), "--limit", "6000"]) == 1
    shown = capsys.readouterr().out
    assert 3000 < len(shown.encode()) <= 6000
    assert len(found["newWork"]) == 40
    assert "New work: each is another payment (40)" in shown
    assert re.search(r"\d+ more are left out here; the report as JSON has them all\.", shown)


def test_a_very_large_one_fits_too():
    lines = [f"number {number} of many, with an ü" for number in range(50_000)]
    text = markdown({"dev": Review(Rendered(), Rendered(), new_work=lines, widened=lines, added=lines, files=lines)})
    assert 20_000 < len(text.encode()) <= LIMIT
    assert text.count("more are left out here") == 4


def test_many_stacks_are_cut_too(tmp_path, rendered, capsys):
    few = {path: rendered[path] for path in ("agent-config.json", JOB)}
    for number in range(40):
        write(tmp_path / "after" / f"stack-{number:02}", few)
    (tmp_path / "before").mkdir()
    assert main([str(tmp_path / "before"), str(tmp_path / "after"), "--limit", "5000"]) == 1
    shown = capsys.readouterr().out
    assert len(shown.encode()) <= 5000
    assert re.search(r"\*\*\d+ more stacks are left out", shown)


def test_names_are_no_markup(base, head, capsys):
    name = "```\n# <img src=x> @team `x`"
    manifest = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name.replace("/", "")},
        "rules": [],
    }
    (head / "foundation/clusterrole-x.yaml").write_text(yaml.safe_dump(manifest))
    _, shown = one(capsys, base, head)
    assert "ClusterRole ''' # <img src=x> @team 'x'" in shown
    assert shown.count("```") % 2 == 0
    assert "\n#" not in re.sub(r"\n#{2,4} [A-Z]", "", shown)


def test_bad_input_is_one_message_and_exit_code_2(base, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for words, told in (
        ([tmp_path / "nowhere", base], "nowhere: git has no such revision here"),
        ([tmp_path / "empty", tmp_path / "empty"], "there is no stack any"),
        ([base, base, "--stack", "nope"], "there is no stack nope"),
        ([base, base, "--json", tmp_path / "empty"], "cannot be written"),
        (["--output=x", "HEAD"], None),
    ):
        try:
            code = main([str(one) for one in words])
        except SystemExit as error:
            code = error.code
        shown = capsys.readouterr()
        assert code == 2, words
        assert told is None or told in shown.err


def test_a_link_out_of_the_folder_is_not_followed(base, head, tmp_path, capsys):
    (tmp_path / "outside.yaml").write_text("kind: [")
    (head / "foundation/link.yaml").symlink_to(tmp_path / "outside.yaml")
    one(capsys, base, head, code=0)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a[1] (removed)"]),
        (
            {"a": [{"name": "x", "v": 1}, {"name": "y"}]},
            {"a": [{"name": "y"}, {"name": "x", "v": 2}]},
            ["a (order)", "a[x].v"],
        ),
        ({"m": {"a.b/c": "1"}}, {"m": {"a.b/c": "2"}}, ["m[a.b/c]"]),
        ({"a": {}}, {"a": []}, ["a"]),
    ],
)
def test_paths_of_fields(before, after, paths):
    assert [*differing(before, after)] == paths


@pytest.fixture
def repository(tmp_path):
    """Two commits whose code renders nothing but what it was given."""
    if not shutil.which("git"):
        pytest.skip("git is not on the PATH; install it")
    folder = tmp_path / "project"
    (folder / "components/synth").mkdir(parents=True)
    (folder / "components/__init__.py").touch()
    (folder / "components/synth/__init__.py").touch()
    copies = (
        "import shutil, sys\nwords = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "shutil.copytree('files', f\"{words['--out']}/{words['--stack']}\")\n"
    )
    (folder / "components/synth/__main__.py").write_text(copies)
    subprocess.run(["git", "-C", str(folder), "init", "-q"], check=True)
    return folder


def commit(folder, subject):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in (["add", "-A"], [*identity, "commit", "-qm", subject], ["tag", subject]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)


def test_revisions_are_rendered_with_their_own_code(repository, rendered, tmp_path, capsys):
    (repository / "Pulumi.dev.yaml").write_text("config: {}")
    write(repository / "files", rendered)
    commit(repository, "first")
    edit(repository / "files", OPERATOR, lambda one: one["spec"].update(replicas=2))
    (repository / "Pulumi.new.yaml").write_text("config: {}")
    commit(repository, "second")
    broken = repository / "components/synth/__main__.py"
    kept = broken.read_text()
    broken.write_text("raise SystemExit('no such key')")
    commit(repository, "broken")
    project = ["--project", repository]

    stacks, _ = report(capsys, "first", "second", *project)
    assert [*stacks] == ["dev", "new"]
    assert stacks["dev"]["objects"]["changed"][0]["fields"] == ["spec.replicas"]
    assert stacks["new"]["base"] == "absent"

    stacks, shown = report(capsys, "broken", "second", *project, "--stack", "dev")
    assert "does not render dev (no such key)" in stacks["dev"]["problems"][0]
    assert "Maximum exposure: unknown → " in shown
    assert len(stacks["dev"]["objects"]["added"]) > 40

    assert main(["first", "broken", "--project", str(repository)]) == 2
    assert "does not render dev (no such key)" in capsys.readouterr().err
    assert main(["first", "nope", "--project", str(repository)]) == 2
    assert "nope: git has no such revision here" in capsys.readouterr().err

    broken.write_text(kept)
    folder = Path(shutil.copytree(repository / "files", tmp_path / "dist/dev")).parent
    assert report(capsys, "second", folder, *project, "--stack", "dev", code=0)


def test_it_is_a_command(base, head):
    command = [sys.executable, "-m", "components.diff_report", str(base), str(head)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
