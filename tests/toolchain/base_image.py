"""A base image made here: a Python and a shell from Debian packages, since a base cannot be pulled without a network.

It stands in for the `python:3.12-slim` of the Dockerfile: `python` on the PATH, accounts, /tmp, nothing else; the
builder's variant has pip, which takes wheels from the mounted wheelhouse and asks no index.
"""

import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.toolchain import cache, debian
from tests.toolchain.buildah import Buildah
from tests.toolchain.tools import Missing

PACKAGES = ("python3", "busybox-static", "python3-pip-whl")
NOT_NEEDED = ("dpkg", "tar", "readline-common", "libtirpc-common")
"""Depended on only by scripts of the packages, which never run here."""
BALLAST = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/lib/*/test")
WHEELHOUSE = "/wheels"
PIP_CONF = f"[global]\nno-index = true\nfind-links = {WHEELHOUSE}\n"

DOCKERFILE = """
FROM scratch AS base
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
FROM base AS builder
COPY pip /usr/lib/python3/dist-packages/pip
COPY pip.conf /etc/pip.conf
"""


def context() -> Path:
    """The build context of both variants: an archive of the root file system, pip, and a Dockerfile."""
    recipe = repr((PACKAGES, NOT_NEEDED, BALLAST, PIP_CONF, DOCKERFILE))
    return cache.fill("base-image", cache.digest([recipe.encode(), debian.release().encode()]), _make)


def python_version(base: Path) -> str:
    """`3.11`, as the base's `python` is; pip must fetch wheels for this one, not for the Python that runs the tests."""
    return (base / "python-version").read_text()


def ensure(buildah: Buildah, base: Path) -> tuple[str, str]:
    """Tags of the base and of its builder variant in the store, built if they are not there."""
    tags = (f"localhost/base:{base.name}", f"localhost/base-builder:{base.name}")
    for tag, target in zip(tags, ("base", "builder"), strict=True):
        if not buildah.has(tag):
            buildah.build(base, tag, "--target", target)
    return tags


def _make(part: Path) -> None:
    root = part / "root"
    debian.unpack_system(PACKAGES, root, without=NOT_NEEDED)
    _furnish(root)
    (part / "python-version").write_text(_python_version(root))
    [wheel] = (root / "usr/share/python-wheels").glob("pip-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(part, [name for name in archive.namelist() if name.startswith("pip/")])
    shutil.rmtree(root / "usr/share/python-wheels")
    (part / "pip.conf").write_text(PIP_CONF)
    (part / "Dockerfile").write_text(DOCKERFILE)
    same = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]
    subprocess.run(["tar", *same, "-C", root, "-cf", part / "rootfs.tar", "."], check=True)
    shutil.rmtree(root)


def _furnish(root: Path) -> None:
    """What the packages' scripts would have done, as far as a container needs it."""
    for pattern in BALLAST:
        for directory in root.glob(pattern):
            shutil.rmtree(directory)
    for name in ("dev", "proc", "sys", "root", "run", "tmp", "var/tmp", "usr/local/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    busybox = root / "usr/bin/busybox"
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        link = root / "usr/bin" / applet
        if not link.exists() and not link.is_symlink():
            link.symlink_to("busybox")
    (root / "usr/bin/python").symlink_to("python3")
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()


def _python_version(root: Path) -> str:
    version = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    if tuple(int(part) for part in version.split(".")) < (3, 11):
        raise Missing(f"this machine's Debian has Python {version}; the image needs 3.11 or newer")
    return version
