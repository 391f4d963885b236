"""A folder of generated files never harms what other hands put there."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import BadInput
from components.output_folder import LISTING, OutputFolder


@pytest.fixture
def folder(tmp_path):
    return OutputFolder(tmp_path / "dist" / "dev")


def contents(folder):
    return {str(p.relative_to(folder.root)): p.read_text() for p in folder.root.rglob("*") if p.is_file()}


def test_writes_lists_and_marks_scripts_executable(folder):
    assert folder.replace({"a.yaml": "a\n", "fly/s.sh": "#!/bin/sh\n"}) == 2
    assert {*contents(folder)} == {"a.yaml", "fly/s.sh", LISTING}
    assert os.access(folder.root / "fly/s.sh", os.X_OK)
    assert not os.access(folder.root / "a.yaml", os.X_OK)
    assert f"{hashlib.sha256(b'a' + os.linesep.encode()).hexdigest()}  a.yaml" in (folder.root / LISTING).read_text()


def test_removes_only_its_own_stale_files_and_empty_folders(folder):
    folder.replace({"old/a": "a", "old/b": "b", "keep": "k"})
    (folder.root / "old" / "mine").write_text("not generated")
    (folder.root / "old" / "b").write_text("edited since")
    folder.replace({"keep": "k"})
    assert {*contents(folder)} == {"keep", "old/mine", "old/b", LISTING}
    (folder.root / "old" / "mine").unlink()
    assert folder.replace({"keep": "k"}) == 0


def test_refuses_to_overwrite_a_foreign_file_and_writes_nothing(folder):
    folder.root.mkdir(parents=True)
    (folder.root / "a").write_text("somebody's")
    with pytest.raises(BadInput, match=r"not written by this command.*: a;"):
        folder.replace({"a": "mine", "b": "mine"})
    assert contents(folder) == {"a": "somebody's"}


def test_a_folder_in_the_way_leaves_the_old_output(folder):
    folder.replace({"a": "1"})
    (folder.root / "b").mkdir()
    with pytest.raises(BadInput):
        folder.replace({"a": "2", "b": "2"})
    assert contents(folder)["a"] == "1"


def test_an_error_while_staging_leaves_the_old_output(folder):
    folder.replace({"a": "1"})
    with pytest.raises(BadInput, match="nothing was changed"):
        folder.replace({"a": "2", "x": "a file", "x/y": "and a folder of the same name"})
    assert contents(folder)["a"] == "1"
    assert [p.name for p in folder.root.parent.iterdir()] == ["dev"], "the staging folder is left behind"


def test_differences_are_unified_diffs_and_end_when_written(folder):
    folder.replace({"a": "one\ntwo\n", "gone": "x\n"})
    new = {"a": "one\n2\n", "b": "no newline"}
    text = "".join(folder.differences(new))
    assert "--- a/a\n+++ b/a\n" in text
    assert "-two\n+2\n" in text
    assert "--- /dev/null\n+++ b/b\n" in text
    assert "\\ No newline at end of file" in text
    assert "+++ /dev/null" in text
    folder.replace(new)
    assert not [*folder.differences(new)]


def test_put_and_drop_keep_the_listing(folder):
    folder.put("a", "1")
    folder.put("b", "2")
    folder.put("a", "3")
    assert {*folder.owned()} == {"a", "b"}
    (folder.root / "b").write_text("edited since")
    folder.drop("a")
    folder.drop("b")
    folder.drop("never there")
    assert folder.owned() == {}
    assert contents(folder) == {"b": "edited since", LISTING: ""}


def test_a_kill_while_staging_leaves_the_old_output(folder):
    """The process dies by SIGKILL in the middle of writing its hundredth file."""
    folder.replace({"a": "old"})
    program = f"""
import os, signal
from pathlib import Path
from components.output_folder import OutputFolder
class Text(str):
    def encode(self, *args):
        os.kill(os.getpid(), signal.SIGKILL)
files = {{"a": "new", **{{f"f{{i}}": "x" for i in range(99)}}, "z": Text("z")}}
OutputFolder(Path({str(folder.root)!r}))._commit(files)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    assert contents(folder)["a"] == "old"
    assert folder.replace({"a": "new"}) == 1
