"""`kubectl` for what a preview has to know of the cluster.

It finds the cluster and the credentials exactly as Pulumi's provider does, and prints only what its template names:
what is read as a Pulumi resource is copied into the state.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pulumi

SECONDS = 10


class UnknownError(Exception):
    """The cluster could not be asked, e.g. for want of rights or of `kubectl`."""


def access() -> Mapping[str, str]:
    """What the stack's configuration says of the cluster: `kubeconfig`, `context`, `cluster`, empty where not set."""
    cluster = pulumi.Config("kubernetes")
    return {key: cluster.get(key) or "" for key in ("kubeconfig", "context", "cluster")}


def get(where: Mapping[str, str], *words: str, template: str) -> str:
    """`kubectl get` with a Go template; nothing where there is no such object. Raises `UnknownError`.

    Args:
        where: See `access`.
        words: What follows `get`.
        template: Prints what is to be known.
    """
    if not (kubectl := shutil.which("kubectl")):
        raise UnknownError("no `kubectl` on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--{key}={where[key]}" for key in ("context", "cluster") if where[key]]
        if kubeconfig := where["kubeconfig"]:
            options.append(f"--kubeconfig={_kubeconfig(kubeconfig, Path(folder))}")
        asked = [kubectl, *options, "get", *words, "--ignore-not-found", "-o", f"go-template={template}"]
        done = subprocess.run(
            [*asked, f"--request-timeout={SECONDS}s"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise UnknownError(done.stderr.strip())
    return done.stdout


def _kubeconfig(given: str, folder: Path) -> Path:
    """A path as it is; contents, which Pulumi takes too, in a file that only this user can read."""
    if "\n" not in given and Path(given).expanduser().is_file():
        return Path(given).expanduser()
    path = folder / "kubeconfig"
    path.touch(0o600)
    path.write_text(given)
    return path
