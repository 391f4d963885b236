"""buildah without a daemon and without traces: it builds an image in storage of its own, inside the cache.

It runs in mount and process namespaces that end with it, so a build that is killed leaves no mount behind. Files that
it would read from /etc/containers are its own here, and what it would write to /var/lib/containers goes to memory.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.toolchain import cache, tools
from tests.toolchain.tools import Missing

STORAGE_MEGABYTES = 3000
"""Storage beyond this is emptied before a build: old layers have no other way out."""
SYSTEM_STATE = Path("/var/lib/containers")

# $1 is the home, the rest is the command. The libraries that came with an unpacked buildah must be found by the
# children it starts with an empty environment too, so the loader's cache is replaced, not LD_LIBRARY_PATH set.
NAMESPACE_SCRIPT = """
set -e
home=$1; shift
mount -t tmpfs tmpfs /var/lib/containers
if [ -e "$home/ld.so.cache" ]; then mount --bind "$home/ld.so.cache" /etc/ld.so.cache; fi
exec "$@"
"""


class BuildFailed(Exception):
    """buildah said no; the text carries the end of what it said."""


class Buildah:
    """One store of images and layers, for one caller at a time (see `session`)."""

    def __init__(self, home: Path, program: Path) -> None:
        self.home = home
        self._program = program
        self._driver = ""

    def build(self, context: Path, tag: str, *options: str) -> None:
        """Build a Dockerfile's context under that tag, reproducibly; unchanged layers are taken from the store."""
        fixed = ("--layers", "--pull-never", "--timestamp", "0", "--quiet", *self._trust)
        self._run("build", *fixed, *options, "--tag", tag, str(context))

    def has(self, tag: str) -> bool:
        """Whether the store has an image of that tag."""
        with contextlib.suppress(BuildFailed):
            return bool(self._run("images", "--quiet", tag))
        return False

    def export(self, tag: str, archive: Path) -> None:
        """Write the image as an archive that carries its own name.

        Docker's format, which containerd reads as well as OCI's: buildah can leave its layers uncompressed, which is
        four times quicker, and the archive only crosses a disk.
        """
        self._run("push", "--quiet", *self._trust, tag, f"docker-archive:{archive}:{tag}")

    @property
    def _trust(self) -> tuple[str, str]:
        return ("--signature-policy", str(self.home / "policy.json"))

    def _run(self, *arguments: str) -> str:
        self._driver = self._driver or self._choose_driver()
        run = self._execute(self._driver, arguments)
        if run.returncode:
            raise BuildFailed(f"buildah {arguments[0]} failed:\n{(run.stderr or run.stdout).strip()[-2000:]}")
        return run.stdout

    def _choose_driver(self) -> str:
        """Overlay where the kernel can (five times quicker, a tenth of the space), else plain copies."""
        return "overlay" if self._execute("overlay", ("info",)).returncode == 0 else "vfs"

    def _execute(self, driver: str, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        storage = self.home / driver
        (self.home / f"{driver}.conf").write_text(
            f'[storage]\ndriver = "{driver}"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n'
        )
        environment = {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_CONF": str(self.home / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.home / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.home / f"{driver}.conf"),
            "STORAGE_DRIVER": driver,
            "TMPDIR": str(self.home / "tmp"),
        }
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        inside = ["sh", "-c", NAMESPACE_SCRIPT, "sh", str(self.home), str(self._program), *arguments]
        return subprocess.run([*namespaces, *inside], capture_output=True, text=True, env=environment, check=False)


@contextlib.contextmanager
def session() -> Iterator[Buildah]:
    """The store, for this process alone until the end; `Missing` says what stands in the way."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        raise Missing("building an image without a daemon needs root on Linux (run the tests as root, e.g. in CI)")
    program = tools.find("buildah").path
    home = cache.root() / "buildah"
    home.mkdir(parents=True, exist_ok=True)
    with cache.locked("buildah", "an image"), _system_state():
        _prepare(home)
        yield Buildah(home, _itself(program, home))


def _prepare(home: Path) -> None:
    used = subprocess.run(["du", "-sm", home], capture_output=True, text=True, check=False).stdout.split()
    if used and int(used[0]) > STORAGE_MEGABYTES:
        cache.say(f"emptying {home}: {used[0]} MB of layers")
        for driver in ("overlay", "vfs"):
            shutil.rmtree(home / driver, ignore_errors=True)
    shutil.rmtree(home / "tmp", ignore_errors=True)
    (home / "tmp").mkdir()
    (home / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')  # only our own archives
    (home / "registries.conf").write_text("")  # no registry is ever asked
    (home / "containers.conf").write_text("")


def _itself(program: Path, home: Path) -> Path:
    """The program behind the start script of an unpacked Debian package, its libraries made known to the loader."""
    loader_cache = home / "ld.so.cache"
    tree = program.parent.parent / "tree"
    if not tree.is_dir():
        loader_cache.unlink(missing_ok=True)
        return program
    libraries = sorted({str(file.parent) for file in tree.rglob("*.so.*")})
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin") or "ldconfig"
    subprocess.run([ldconfig, "-X", "-C", loader_cache, *libraries], check=True)
    return tree / "usr" / "bin" / "buildah"


@contextlib.contextmanager
def _system_state() -> Iterator[None]:
    """A directory to mount over where buildah insists on one; gone again unless it was there before."""
    existed = SYSTEM_STATE.is_dir()
    SYSTEM_STATE.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if not existed:
            with contextlib.suppress(OSError):
                SYSTEM_STATE.rmdir()
