"""A folder of generated files never harms what other hands put there."""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import BadInput
from components.synth.output_folder import LISTING, OutputFolder


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


def test_an_edited_file_is_neither_overwritten_nor_removed(folder):
    folder.replace({"a": "1", "b": "1"})
    (folder.root / "a").write_text("edited since")
    with pytest.raises(BadInput, match=r"edited since they were written: a;.*Nothing was written"):
        folder.replace({"a": "2", "b": "2"})
    with pytest.raises(BadInput, match="edited since"):
        folder.replace({"a": "1", "b": "1"})
    assert contents(folder)["b"] == "1", "a refusal is for all of them"
    (folder.root / "a").unlink()
    assert folder.replace({"a": "2", "b": "2"}) == 2


def test_what_is_on_disk_counts_not_what_was_written(folder):
    folder.replace({"a": "1", "b": "1"})
    assert folder.outdated({"a": "1", "b": "1"}) == []
    (folder.root / "a").unlink()
    assert folder.outdated({"a": "1", "b": "1"}) == ["a"]
    folder.check({"a": "1", "b": "1"})
    assert not (folder.root / "a").exists(), "a check has written"


def test_what_is_the_same_already_is_taken_over(folder):
    folder.root.mkdir(parents=True)
    (folder.root / "a").write_text("1")
    assert folder.replace({"a": "1"}) == 0
    assert {*folder.owned()} == {"a"}


def test_several_writers_share_the_listing(folder):
    folder.change({"a": "1"}, [])
    folder.change({"b": "1"}, ["never there"])
    assert {*folder.owned()} == {"a", "b"}
    folder.change({}, ["a"])
    assert contents(folder) == {"b": "1", LISTING: (folder.root / LISTING).read_text()}
    folder.change({}, ["b"])
    assert contents(folder) == {}, "a listing of nothing is left"


@pytest.mark.parametrize("renames", range(5))
def test_a_kill_between_two_renames_leaves_no_stranger(folder, renames):
    """The process dies by SIGKILL after so many of: the listing of both, two files, the listing of the new ones."""
    folder.replace({"a": "old", "b": "old"})
    program = f"""
import os, signal
from pathlib import Path
from components.synth.output_folder import OutputFolder
rename, left = Path.replace, [{renames}]
def replace(self, target):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return rename(self, target)
Path.replace = replace
OutputFolder(Path({str(folder.root)!r})).replace({{"a": "new", "b": "new"}})
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == (-9 if renames < 4 else 0)
    assert folder.replace({"a": "newest", "b": "newest"}) == 2
    assert {path for path in contents(folder) if "/" not in path} == {"a", "b", LISTING}


def test_a_kill_while_staging_leaves_the_old_output(folder):
    """The process dies by SIGKILL in the middle of writing its hundredth file."""
    folder.replace({"a": "old"})
    program = f"""
import os, signal
from pathlib import Path
from components.synth.output_folder import OutputFolder
class Text(str):
    def encode(self, *args):
        os.kill(os.getpid(), signal.SIGKILL)
files = {{"a": "new", **{{f"f{{i}}": "x" for i in range(99)}}, "z": Text("z")}}
OutputFolder(Path({str(folder.root)!r}))._commit(files, {{}}, {{}})
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    assert contents(folder)["a"] == "old"
    assert folder.replace({"a": "new"}) == 1


@pytest.fixture
def elsewhere(tmp_path):
    """A file of somebody else's, and the line of a listing that would claim it."""
    file = tmp_path / "elsewhere" / "a"
    file.parent.mkdir()
    file.write_text("somebody's")
    return file


@pytest.mark.parametrize("line", ["../../elsewhere/a", "{absolute}", "a/../../../elsewhere/a", ".", ".."])
def test_a_listing_claims_nothing_outside_the_folder(folder, elsewhere, line):
    folder.replace({"a": "1"})
    digest = hashlib.sha256(b"somebody's").hexdigest()
    listing = folder.root / LISTING
    listing.write_text(listing.read_text() + f"{digest}  {line.format(absolute=elsewhere)}\n")
    for act in (lambda: folder.replace({"a": "2"}), lambda: [*folder.differences({"a": "2"})]):
        with pytest.raises(BadInput, match="lead out of it"):
            act()
    assert elsewhere.read_text() == "somebody's"
    assert (folder.root / "a").read_text() == "1"


@pytest.mark.parametrize("path", ["../a", "/tmp/never", "b/../../a"])
def test_a_file_outside_the_folder_is_not_written(folder, path):
    with pytest.raises(BadInput, match="lead out of it"):
        folder.replace({path: "x", "b": "x"})
    assert not folder.root.exists()


def test_a_folder_that_is_a_link_is_not_written_through(folder, elsewhere):
    folder.replace({"sub/b": "1"})
    (folder.root / "sub" / "b").unlink()
    (folder.root / "sub").rmdir()
    (folder.root / "sub").symlink_to(elsewhere.parent)
    for files in ({"sub/b": "2"}, {"sub/a": "2"}, {}):
        with pytest.raises(BadInput, match=r"by `\.\.`, an absolute path or a link: sub/"):
            folder.replace(files)
    assert [*elsewhere.parent.iterdir()] == [elsewhere]
    assert elsewhere.read_text() == "somebody's"


def test_a_folder_that_is_itself_a_link_is_the_users_choice(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "dist").symlink_to("real")
    assert OutputFolder(tmp_path / "dist" / "dev").replace({"a": "1"}) == 1
    assert (tmp_path / "real/dev/a").read_text() == "1"


def test_two_renders_at_once_take_turns(folder):
    """From the look at what is there to the last change, no other render is in the folder."""
    looks = []

    def alone():
        descriptor = os.open(folder.root.parent, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    class Watched(OutputFolder):
        def owned(self):
            looks.append(alone())
            return super().owned()

        def _remove(self, path):
            looks.append(alone())
            super()._remove(path)

    folder.replace({"a": "1"})
    Watched(folder.root).replace({"b": "1"})
    assert len(looks) > 2
    assert all(looks)
    assert not alone()
