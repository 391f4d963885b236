"""A Secret that has to exist before the stack: looked for in the preview, with the command that makes it.

`kubectl` looks, because it finds the cluster and the credentials exactly as Pulumi's provider does. It prints the names
of the keys only: to read the Secret as a Pulumi resource would copy the API key into the state.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from components.errors import BadInput
from components.manifests import credentials, services
from components.settings import Settings

_FOUND = "found"
_TEMPLATE = f'{_FOUND}{{{{range $key, $_ := .data}}}}{{{{"\\n"}}}}{{{{$key}}}}{{{{end}}}}'
_SECONDS = 10


class UnknownError(Exception):
    """Nobody can say whether the Secret exists; pods that need it wait for it."""


def declare(settings: Settings, parent: pulumi.Resource) -> None:
    """Have the engine refuse, in its preview already, a stack whose existing Secret is missing.

    The Secret's name is the resource; its hook looks when the resource is new or changed, so `destroy` never asks.
    """
    cluster = pulumi.Config("kubernetes")
    access = {key: cluster.get(key) or "" for key in ("kubeconfig", "context", "cluster")}

    def look(_: pulumi.ResourceHookArgs) -> None:
        try:
            check(settings, access)
        except UnknownError as error:
            pulumi.log.warn(str(error), parent)

    looked = pulumi.ResourceHook("look for the existing Secret", look, pulumi.ResourceHookOptions(on_dry_run=True))
    pulumi.Stash(
        "existing-secret",
        input={
            "namespace": settings.namespace,
            "name": settings.credentials.existing_secret,
            "keys": credentials.needed_keys(settings),
        },
        opts=pulumi.ResourceOptions(
            parent=parent, hooks=pulumi.ResourceHookBinding(before_create=[looked], before_update=[looked])
        ),
    )


def check(settings: Settings, access: Mapping[str, str]) -> None:
    """Look for the Secret; `access` holds `kubernetes:kubeconfig`, `:context` and `:cluster`, empty where not set.

    Raises:
        BadInput: it is missing or lacks a key; the message says what to do.
        UnknownError: it cannot be looked for, e.g. for want of rights or of `kubectl`.
    """
    where = f"Secret {settings.credentials.existing_secret} in namespace {settings.namespace}"
    found = _look(settings, access, where)
    if found is None:
        raise BadInput(f"{where} does not exist (purpleflea.credentials.existingSecret). {_make(settings)}")
    if missing := [key for key in credentials.needed_keys(settings) if key not in found]:
        raise BadInput(
            f"{where} has no {', '.join(missing)}; add them, or name the keys that it has in purpleflea.credentials"
        )


def _look(settings: Settings, access: Mapping[str, str], where: str) -> list[str] | None:
    """The Secret's keys; None where there is no such Secret."""
    if not (kubectl := shutil.which("kubectl")):
        raise UnknownError(f"whether {where} exists is not known: no `kubectl` on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--{key}={access[key]}" for key in ("context", "cluster") if access[key]]
        if kubeconfig := access["kubeconfig"]:
            options.append(f"--kubeconfig={_kubeconfig(kubeconfig, Path(folder))}")
        asked = ["get", "secret", settings.credentials.existing_secret, "--namespace", settings.namespace]
        done = subprocess.run(
            [kubectl, *options, *asked, "--ignore-not-found", "-o", f"go-template={_TEMPLATE}",
             f"--request-timeout={_SECONDS}s"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise UnknownError(f"whether {where} exists is not known: {done.stderr.strip()}")
    return done.stdout.splitlines()[1:] if done.stdout else None


def _kubeconfig(given: str, folder: Path) -> Path:
    """A path as it is; contents, which Pulumi takes too, in a file that only this user can read."""
    if "\n" not in given and Path(given).expanduser().is_file():
        return Path(given).expanduser()
    path = folder / "kubeconfig"
    path.touch(0o600)
    path.write_text(given)
    return path


def _make(settings: Settings) -> str:
    """The commands, in their order. The key comes by standard input: a command line shows in histories and `ps`."""
    keys, namespace = settings.credentials, settings.namespace
    literals: dict[str, Any] = {
        keys.agent_wallet_key: keys.agent_wallet or "YOUR-AGENT-ID",
        keys.faucet_url_key: services.url(settings, "faucet"),
        keys.escrow_url_key: services.url(settings, "escrow"),
    }
    needed = credentials.needed_keys(settings)
    lines = [f"kubectl create namespace {namespace}   # unless it is there"]
    if settings.create_namespace and not settings.retention.keep_escrows:
        lines.append("pulumi config set createNamespace false   # the stack adopts a namespace only to keep it")
    lines.append(
        f'printf %s "$API_KEY" | kubectl create secret generic {keys.existing_secret} -n {namespace} '
        f"--from-file={keys.api_key_key}=/dev/stdin "
        + " ".join(f"--from-literal={key}={value}" for key, value in literals.items() if key in needed)
    )
    return "Make it, then run this again:\n" + "\n".join(f"  {line}" for line in lines)
