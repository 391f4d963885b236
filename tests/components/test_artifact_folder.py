"""The artifacts target under the real engine: what is on disk counts, at every run, and nobody's file is harmed."""

import re
import shutil

import pytest
from pulumi import automation

pytestmark = pytest.mark.engine
HPA = "kubernetes/horizontalpodautoscaler-pf-agent-hpa.yaml"
PAYROLL = "kubernetes/cronjob-pf-agent-payroll.yaml"


@pytest.fixture
def stack(deploy):
    return deploy(target="artifacts")


@pytest.fixture
def written(tmp_path):
    return tmp_path / "dist/test"


def said(stack):
    text = "\n".join(line.strip() for line in stack.said)
    stack.said.clear()
    return text


def test_a_preview_shows_each_files_diff_and_only_up_writes(stack, written):
    stack.preview()
    assert not written.exists()
    stack.up()
    assert not stack.log(), "the artifacts target used the Kubernetes provider"
    assert "minReplicas: 2" in (written / HPA).read_text()
    assert stack.preview() == []

    stack.configure(target="artifacts", hpa={"minReplicas": 3}, payroll={"enabled": False})
    said(stack)
    stack.preview()
    shown = said(stack)
    assert re.search(r"^~ minReplicas *: 2 => 3$", shown, re.M), "Pulumi reads the YAML in a file and shows the field"
    assert f"dist/{PAYROLL}" in shown
    assert (written / PAYROLL).exists()
    stack.up()
    assert "minReplicas: 3" in (written / HPA).read_text()
    assert not (written / PAYROLL).exists()
    assert stack.preview() == []


def test_what_is_missing_on_disk_is_written_again_as_often_as_it_is_missing(stack, written):
    stack.up()
    for _ in range(2):
        shutil.rmtree(written)
        changed = {step.urn.rpartition("::")[2] for step in stack.preview() if step.op == automation.OpType.UPDATE}
        assert f"dist/{HPA}" in changed
        stack.up()
        assert (written / HPA).exists()
        assert stack.preview() == []
    (written / HPA).unlink()
    assert [step.urn.rpartition("::")[2] for step in stack.preview()] == [f"dist/{HPA}"]


def test_a_refused_write_is_refused_in_the_preview_and_never_recorded_as_done(stack, written):
    (written / HPA).parent.mkdir(parents=True)
    (written / HPA).write_text("somebody's")
    for run in (stack.preview, stack.up, stack.up):
        with pytest.raises(automation.CommandError, match=f"not written by this command: {HPA}; move them away"):
            run()
    assert (written / HPA).read_text() == "somebody's"
    assert len([*written.rglob("*.yaml")]) == 1, "one of many was written"
    (written / HPA).unlink()
    stack.up()
    assert "minReplicas: 2" in (written / HPA).read_text()


def test_an_edited_file_is_not_overwritten_silently(stack, written):
    stack.up()
    (written / HPA).write_text("edited by hand")
    for sections in ({}, {"hpa": {"minReplicas": 3}}):
        stack.configure(target="artifacts", **sections)
        for run in (stack.preview, stack.up):
            with pytest.raises(automation.CommandError, match=f"edited since they were written: {HPA}"):
                run()
    assert (written / HPA).read_text() == "edited by hand"
    (written / HPA).unlink()
    stack.up()
    assert "minReplicas: 3" in (written / HPA).read_text()


def test_destroy_removes_what_it_wrote_and_nothing_else(stack, written):
    stack.up()
    (written / "mine.txt").write_text("mine")
    (written / HPA).write_text("edited by hand")
    with pytest.raises(automation.CommandError, match="--run-program"):
        stack.destroy(run_program=False)
    assert (written / PAYROLL).exists(), "half of it is gone"
    stack.destroy()
    left = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert left == {"mine.txt", HPA}
