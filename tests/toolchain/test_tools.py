"""The rule that finds a program: variable, PATH, KUBEBUILDER_ASSETS, Debian package, build."""

import pytest

from tests.toolchain import tools


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine with nothing: an empty cache, an empty PATH, no assets."""
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path / 'cache'}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    for tool in tools.TOOLS.values():
        monkeypatch.delenv(tool.variable, raising=False)
    return tmp_path


def program(directory, name, version):
    directory.mkdir(exist_ok=True)
    file = directory / name
    file.write_text(f"#!/bin/sh\necho {name} v{version}\n")
    file.chmod(0o755)
    return file


def test_each_place_yields_to_the_one_before_it(bare, monkeypatch):
    etcd = tools.TOOLS["etcd"]
    assert tools.present(etcd) == (None, [])
    asset = program(bare / "assets", "etcd", "3.6.1")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", f"{bare / 'assets'}")
    assert tools.present(etcd)[0] == tools.Found(asset, "KUBEBUILDER_ASSETS", "3.6.1")
    on_path = program(bare / "bin", "etcd", "3.6.2")
    assert tools.present(etcd)[0] == tools.Found(on_path, "PATH", "3.6.2")
    named = program(bare, "my-etcd", "3.6.3")
    monkeypatch.setenv("TEST_ASSET_ETCD", f"{named}")
    assert tools.present(etcd)[0] == tools.Found(named, "TEST_ASSET_ETCD", "3.6.3")


def test_too_old_a_program_is_passed_over_and_said(bare):
    old = program(bare / "bin", "etcd", "3.4.23")
    assert tools.present(tools.TOOLS["etcd"]) == (None, [f"{old} is 3.4.23, older than 3.5"])


def test_program_without_its_companions_is_passed_over(bare):
    alone = program(bare / "bin", "containerd", "2.1.0")
    reason = f"{alone} has no containerd-shim-runc-v2, ctr beside it"
    assert tools.present(tools.TOOLS["containerd"]) == (None, [reason])


def test_variable_that_names_no_program_is_an_error_and_not_a_fallback(bare, monkeypatch):
    monkeypatch.setenv("TEST_ASSET_ETCD", "/nowhere/etcd")
    with pytest.raises(tools.Missing, match="TEST_ASSET_ETCD names /nowhere/etcd, which is no program"):
        tools.find("etcd")


def test_machine_with_nothing_says_every_way_to_get_it(bare):
    with pytest.raises(tools.Missing) as missing:
        tools.find("containerd")
    assert "no apt here to fetch the Debian package containerd" in str(missing.value)
    assert "no Go on the PATH to build containerd 2.4.2 (install Go 1.26 or newer)" in str(missing.value)
    assert str(missing.value).endswith("or set TEST_ASSET_CONTAINERD to a program of yours")


def test_kubernetes_of_two_versions_is_refused(bare, monkeypatch):
    for name, version in (("kube-apiserver", "1.38.0"), ("kubelet", "1.37.2")):
        program(bare / "bin", name, version)
    with pytest.raises(tools.Missing, match=r"differ: kube-apiserver 1.38.0 \(PATH\), kubelet 1.37.2 \(PATH\)"):
        tools.find_all(["kube-apiserver", "kubelet"])


def test_one_that_takes_minutes_is_built_by_its_name_only(bare):
    with pytest.raises(tools.Missing, match=r"takes 600 s to build: `python -m tests.toolchain build keda-scaler`"):
        tools.find("keda-scaler")
    with pytest.raises(tools.Missing, match="no Go on the PATH to build keda-scaler"):
        tools.find("keda-scaler", by_name=True)
