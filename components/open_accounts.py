"""A changed payment service beside open accounts: refused in the preview.

Who speaks to another service, or in another dialect, knows nothing of the escrows that are open; the operator would
leave them alone, and their money would wait for its time-out.
"""

import re
from collections.abc import Mapping

import pulumi

from components import kubectl
from components.errors import BadInput
from components.manifests import operator, services
from components.settings import Settings
from runtime.contract import ESCROW_GROUP, ESCROW_PLURAL, Phase

_TEMPLATE = (
    "{{range .items}}{{.metadata.namespace}}/{{.metadata.name}} {{.spec.dialect}} "
    '{{or .spec.service "-"}} {{if .status}}{{or .status.phase "-"}}{{else}}-{{end}}{{"\\n"}}{{end}}'
)
_NAMED = 3
"""Accounts that are named; of more the number is said."""


def declare(settings: Settings, parent: pulumi.Resource) -> None:
    """Have the engine refuse, in its preview already, another service or dialect while accounts are open."""
    access = kubectl.access()

    def look(_: pulumi.ResourceHookArgs) -> None:
        try:
            check(settings, access)
        except kubectl.UnknownError as error:
            pulumi.log.warn(f"whether accounts of another payment service are open is not known: {error}", parent)

    looked = pulumi.ResourceHook("look for open accounts", look, pulumi.ResourceHookOptions(on_dry_run=True))
    pulumi.Stash(
        "payment-service",
        input={
            "dialect": settings.api.dialect,
            "url": services.url(settings, "escrow") if services.is_given(settings, "escrow") else "",
            "former": [*settings.operator.former_escrow_urls],
            "watched": operator.watch_namespace(settings),
        },
        opts=pulumi.ResourceOptions(
            parent=parent, hooks=pulumi.ResourceHookBinding(before_create=[looked], before_update=[looked])
        ),
    )


def check(settings: Settings, access: Mapping[str, str]) -> None:
    """Look for accounts that are open at another service; `access` as in `kubectl.access`.

    Raises:
        BadInput: There are some; the message names them and says what to do.
        UnknownError: Nobody can say.
    """
    found = [line.split(" ") for line in _look(settings, access)]
    foreign = [
        f"{name} ({dialect}, {'no URL on record' if service == '-' else service})"
        for name, dialect, service, phase in found
        if phase != Phase.SETTLED and not _is_served(settings, dialect, service)
    ]
    if not foreign:
        return
    more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
    raise BadInput(
        f"{len(foreign)} accounts are open at another payment service than purpleflea.api.dialect and "
        f"services.escrowUrl name: {', '.join(foreign[:_NAMED])}{more}. Nobody would settle them. Let them be settled "
        "first; or, if it is the same service, name its other URL in purpleflea.operator.formerEscrowUrls"
    )


def _look(settings: Settings, access: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    kind = f"{ESCROW_PLURAL}.{ESCROW_GROUP}"
    for namespace in operator.watched_namespaces(settings) or ("",):
        within = ("--namespace", namespace) if namespace else ("--all-namespaces",)
        try:
            lines += kubectl.get(access, kind, *within, template=_TEMPLATE).splitlines()
        except kubectl.UnknownError as error:
            if "doesn't have a resource type" not in str(error):
                raise
            return []  # the definition comes with the stack
    return lines


def _is_served(settings: Settings, dialect: str, service: str) -> bool:
    if dialect != settings.api.dialect:
        return False
    if service == "-" or not services.is_given(settings, "escrow"):
        return True
    known = (services.url(settings, "escrow"), *settings.operator.former_escrow_urls)
    return any(re.fullmatch(".*".join(map(re.escape, url.split("*"))), service) for url in known)
