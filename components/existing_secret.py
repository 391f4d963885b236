"""A Secret that has to exist before the stack: looked for in the preview, with the command that makes it.

Only the names of its keys are read: as a Pulumi resource its API key would be copied into the state.
"""

from collections.abc import Mapping
from typing import Any

import pulumi

from components import kubectl
from components.errors import BadInput
from components.manifests import credentials, services
from components.settings import Settings

_FOUND = "found"
_TEMPLATE = f'{_FOUND}{{{{range $key, $_ := .data}}}}{{{{"\\n"}}}}{{{{$key}}}}{{{{end}}}}'


def declare(settings: Settings, parent: pulumi.Resource) -> None:
    """Have the engine refuse, in its preview already, a stack whose existing Secret is missing.

    The Secret's name is the resource; its hook looks when the resource is new or changed, so `destroy` never asks.
    """
    access = kubectl.access()

    def look(_: pulumi.ResourceHookArgs) -> None:
        try:
            check(settings, access)
        except kubectl.UnknownError as error:
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
    """Look for the Secret; `access` as in `kubectl.access`.

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
    secret = settings.credentials.existing_secret
    try:
        told = kubectl.get(access, "secret", secret, "--namespace", settings.namespace, template=_TEMPLATE)
    except kubectl.UnknownError as error:
        raise kubectl.UnknownError(f"whether {where} exists is not known: {error}") from None
    return told.splitlines()[1:] if told else None


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
