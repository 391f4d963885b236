"""The node's part of the cgroup tree. The tree itself is the kernel's; version 2 is checked on files of its form."""

import os

import pytest

from tests.toolchain import cgroups
from tests.toolchain.tools import Missing


@pytest.fixture
def second_version(tmp_path, monkeypatch):
    """A machine whose only hierarchy has version 2."""
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    (tmp_path / "mounts").write_text(f"cgroup2 {tmp_path} cgroup2 rw,nosuid 0 0\ntmpfs /run tmpfs rw 0 0\n")
    return tmp_path / "cgroup.subtree_control"


def test_version_2_that_hands_all_on_will_do(second_version):
    second_version.write_text("cpuset cpu io memory hugetlb pids\n")
    cgroups.demand()


def test_version_2_that_hands_too_little_on_is_refused_with_the_remedy(second_version):
    second_version.write_text("cpu memory\n")
    with pytest.raises(Missing, match=rf"`echo \+cpuset \+pids > {second_version}` turns them on"):
        cgroups.demand()


def test_groups_come_and_go_in_every_hierarchy(own_node):
    name = f"purpleflea-test-{os.getpid()}"
    cgroups.create(name)
    try:
        assert all((top / name).is_dir() for top in cgroups.hierarchies())
    finally:
        cgroups.remove(name)
    assert not any((top / name).exists() for top in cgroups.hierarchies())
