"""The real programs the tests stand on, and the one rule that finds each of them.

In this order: the environment variable, the PATH and `KUBEBUILDER_ASSETS`, a Debian package, a wheel, a build from
pinned Go modules. The first that is there and new enough is taken; the last three end in the cache (`builder.py`).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "1.37.2"
PULUMI = "3.259.0"
HELM = "4.3.1"


class Missing(Exception):
    """Something a level needs is not there; the text says what, and how to get it."""


@dataclass(frozen=True)
class Recipe:
    """One `go build` in the directory of that name, whose go.mod and go.sum pin everything."""

    name: str
    version: str
    packages: tuple[str, ...]
    seconds: int
    """A cold build on two cores, downloads included: what the progress line promises."""
    space_megabytes: int
    """What a cold build takes on disk with Go's own caches."""
    linker: str = ""
    tags: str = ""


@dataclass(frozen=True)
class Tool:
    """A program by the name it has on the PATH."""

    name: str
    recipe: Recipe | None = None
    debian: str = ""
    minimum: tuple[int, ...] = ()
    """The oldest version that is taken from elsewhere."""
    version_arguments: tuple[str, ...] = ("--version",)
    beside: tuple[str, ...] = ()
    """Programs of the same release that must lie in the same directory."""
    path: str | None = None
    """Directories to look in instead of the PATH; empty where the name means something else there."""
    by_name: bool = False
    """Built only by `python -m tests.toolchain build NAME`: it takes too long for every run of the tests."""

    @property
    def variable(self) -> str:
        """The environment variable that decides, named as envtest names them."""
        return "TEST_ASSET_" + re.sub(r"\W", "_", self.name).upper()


@dataclass(frozen=True)
class Found:
    """Where a tool is, which rule found it and what it says its version is."""

    path: Path
    source: str
    version: str


def _kubernetes_linker() -> str:
    major, minor, _ = KUBERNETES.split(".")
    package = "k8s.io/component-base/version"
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(f"-X {package}.{name}={value}" for name, value in values.items())


def _in(module: str, *packages: str) -> tuple[str, ...]:
    return tuple(f"{module}/{package}" for package in packages)


_KUBERNETES_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_CONTAINERD = "github.com/containerd/containerd/v2"

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "kubernetes", KUBERNETES, _in("k8s.io/kubernetes/cmd", *_KUBERNETES_PARTS), 330, 5000, _kubernetes_linker()
        ),
        Recipe("kubectl", KUBERNETES, _in("k8s.io/kubernetes/cmd", "kubectl"), 90, 1500, _kubernetes_linker()),
        Recipe("metrics-adapter", "1.37.0", (".",), 30, 1500),  # beside Kubernetes' build; by itself 200 s
        Recipe("keda-scaler", "2.21.0", (".",), 600, 6000),
        Recipe("etcd", "3.6.16", ("go.etcd.io/etcd/server/v3",), 45, 1000),
        Recipe(
            "containerd",
            "2.4.2",
            _in(_CONTAINERD, "cmd/containerd", "cmd/containerd-shim-runc-v2", "cmd/ctr"),
            150,
            1500,
            f"-X {_CONTAINERD}/version.Version=v2.4.2 -X {_CONTAINERD}/version.Package={_CONTAINERD}",
            "no_btrfs no_devmapper no_zfs",
        ),
        Recipe("addons", "1.15.0", ("./coredns", "./volumes"), 90, 1200),
        Recipe(
            "cni",
            "1.9.1",
            _in("github.com/containernetworking/plugins/plugins", "main/bridge", "main/loopback", "ipam/host-local"),
            20,
            500,
        ),
        Recipe("pause", "1", (".",), 5, 200),
        Recipe("rules", "1", (".",), 60, 1500),
        Recipe("versitygw", "1.8.0", ("github.com/versity/versitygw/cmd/versitygw",), 180, 1500),
        Recipe(
            "helm",
            HELM,
            _in("helm.sh/helm/v4", "cmd/helm"),
            120,
            1500,
            f"-X helm.sh/helm/v4/internal/version.version=v{HELM}",
        ),
        Recipe(
            "pulumi",
            PULUMI,
            ("github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",),
            300,
            3000,
            f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{PULUMI}",
            "osusergo grpcnotrace",
        ),
    )
}

TOOLS = {
    tool.name: tool
    for tool in (
        *(Tool(name, RECIPES["kubernetes"], minimum=(1, 37)) for name in _KUBERNETES_PARTS),
        Tool("kubectl", RECIPES["kubectl"], minimum=(1, 30), version_arguments=("version", "--client")),
        Tool("metrics-adapter", RECIPES["metrics-adapter"], version_arguments=(), path=""),
        Tool("keda-scaler", RECIPES["keda-scaler"], version_arguments=(), path="", by_name=True),
        Tool("etcd", RECIPES["etcd"], minimum=(3, 5)),
        Tool(
            "containerd",
            RECIPES["containerd"],
            debian="containerd",
            minimum=(1, 6),
            beside=("containerd-shim-runc-v2", "ctr"),
        ),
        Tool("runc", debian="runc", minimum=(1, 1)),
        Tool("nft", debian="nftables", minimum=(1, 0, 1)),
        Tool("coredns", RECIPES["addons"], version_arguments=("-version",)),
        Tool("volumes", RECIPES["addons"], version_arguments=(), path=""),
        Tool("bridge", RECIPES["cni"], version_arguments=(), beside=("loopback", "host-local"), path="/opt/cni/bin"),
        Tool("pause", RECIPES["pause"], version_arguments=(), path=""),
        Tool("rules", RECIPES["rules"], version_arguments=(), path=""),
        Tool("busybox", debian="busybox-static", version_arguments=("--help",)),
        Tool("buildah", debian="buildah", minimum=(1, 23)),
        Tool("hledger", debian="hledger", minimum=(1, 25)),
        Tool("versitygw", RECIPES["versitygw"], minimum=(1, 8)),
        Tool("promtool", debian="prometheus", minimum=(2, 42)),
        Tool("helm", RECIPES["helm"], minimum=(4, 3), version_arguments=("version", "--short")),
        Tool("litestream", minimum=(0, 5, 17), version_arguments=("version",)),
        Tool("pulumi", RECIPES["pulumi"], minimum=(3, 200), version_arguments=("version",)),
    )
}
"""Each by the name `find` knows; `bridge` stands for the three CNI plugins."""


def find(name: str, *, by_name: bool = False) -> Found:
    """The tool by that name, fetched or built first when it must be; `Missing` says why it cannot be had.

    Args:
        by_name: Whether somebody has asked for this one: then also one that is built only so.
    """
    from tests.toolchain import builder, debian, wheel

    tool = TOOLS[name]
    found, reasons = present(tool)
    if found:
        return found
    if tool.by_name and not by_name:
        seconds = tool.recipe.seconds if tool.recipe else 0
        raise Missing(f"{name} takes {seconds} s to build: `python -m tests.toolchain build {name}` does it, once")
    for obtain in (debian.fetch, wheel.fetch, builder.build):
        try:
            obtain(tool)
        except Missing as error:
            reasons.append(str(error))
            continue
        found, refused = present(tool)
        if found:
            return found
        reasons += [reason for reason in refused if reason not in reasons]
    raise Missing(f"{name}: {'; '.join(reasons)}; or set {tool.variable} to a program of yours")


def find_all(names: Sequence[str]) -> dict[str, Path]:
    """Each tool's path; Kubernetes' own parts must be of one minor version, as its rules of skew want it."""
    found = {name: find(name) for name in names}
    minors = {_numbers(found[name].version)[:2] for name in _KUBERNETES_PARTS if name in found}
    if len(minors) > 1:
        versions = ", ".join(
            f"{name} {found[name].version} ({found[name].source})" for name in _KUBERNETES_PARTS if name in found
        )
        raise Missing(f"the parts of Kubernetes differ: {versions}; unset the variable or the PATH that brings some")
    return {name: one.path for name, one in found.items()}


def present(tool: Tool) -> tuple[Found | None, list[str]]:
    """What is there already without fetching or building anything, and what was passed over and why."""
    from tests.toolchain import builder, debian, wheel

    if explicit := os.environ.get(tool.variable):
        path = Path(explicit).absolute()
        if not os.access(path, os.X_OK):
            raise Missing(f"{tool.variable} names {explicit}, which is no program; correct or unset it")
        return Found(path, tool.variable, version(tool, path)), []
    refused = []
    cached = [
        (debian.cached(tool), f"Debian package {tool.debian}"),
        (wheel.cached(tool), "wheel"),
        (builder.cached(tool), "built"),
    ]
    for path, source in [*_on_path(tool), *cached]:
        if not path:
            continue
        text = tool.recipe.version if source == "built" and tool.recipe else version(tool, path)
        if tool.minimum and _numbers(text) < tool.minimum:
            wanted = ".".join(map(str, tool.minimum))
            refused.append(f"{path} is {text or 'of unknown version'}, older than {wanted}")
        elif lacking := [name for name in tool.beside if not os.access(path.with_name(name), os.X_OK)]:
            refused.append(f"{path} has no {', '.join(lacking)} beside it")
        else:
            return Found(path, source, text), refused
    return None, refused


def version(tool: Tool, path: Path) -> str:
    """The first version number the program prints; empty when it prints none."""
    if not tool.version_arguments:
        return tool.recipe.version if tool.recipe else ""
    try:
        run = subprocess.run([path, *tool.version_arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+(\.\d+)?", run.stdout + run.stderr)
    return match.group() if match else ""


def _on_path(tool: Tool) -> list[tuple[Path, str]]:
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin" if tool.path is None else tool.path
    places = [("PATH", search), ("KUBEBUILDER_ASSETS", os.environ.get("KUBEBUILDER_ASSETS", ""))]
    hits = [(shutil.which(tool.name, path=where), source) for source, where in places if where]
    return [(Path(hit), source) for hit, source in hits if hit]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
