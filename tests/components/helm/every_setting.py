"""Stacks that between them say every setting otherwise than its default; a test fails where a new one is missing."""

import copy
from collections.abc import Iterator
from typing import Any

from components.helm.values import NO_OBJECT
from components.manifests import stack
from components.settings import BadSettings, Settings
from components.settings.description import ROOT, Described, describe

SMALLER = {"requests": {"cpu": "7m", "memory": "17Mi"}, "limits": {"cpu": "3", "memory": "3Gi"}}
POD = {"podTemplate": {"spec": {"priorityClassName": "high"}}, "resources": SMALLER}

PAYS: dict[str, Any] = {
    "namespace": "team-jobs",
    "logLevel": "DEBUG",
    "hostUsers": not Settings().host_users,
    "createNamespace": False,
    "createCrd": False,
    "api": {"dialect": "server"},
    "images": {
        "runtime": "images.example/runtime@sha256:" + "a" * 64,
        "pullPolicy": "Always",
        "pullSecrets": ["pull"],
        "allowTag": True,
    },
    "credentials": {
        "existingSecret": "payer",
        "agentWallet": "payer-1",
        "apiKeyKey": "k",
        "agentWalletKey": "w",
        "faucetUrlKey": "f",
        "escrowUrlKey": "e",
    },
    "services": {f"{name}Url": f"https://{name}.example" for name in ("faucet", "escrow", "casino", "trading")}
    | {"walletUrl": "https://wallet.example/v1", "domainsUrl": "HTTPS://domains.example/"},
    "faucet": {"deadlineSeconds": 77, "required": not Settings().faucet.required, "resources": SMALLER},
    "escrow": {"defaultBudgetUsdc": "0.30", "timeoutHours": 48},
    "funding": {"mode": "request"},
    "budget": {
        **{f"{name}Usdc": "50" for name in ("namespace", "namespaceDaily", "agent", "agentDaily", "payee")},
        **{"payeeDailyUsdc": "60", "jobUsdc": "2.5", "capUsdc": "900", "payees": ["p-*"], "allowedEscrows": ["esc_1"]},
        "bringEscrows": not Settings().budget.bring_escrows,
        "timeZone": "Asia/Tokyo",
    },
    "job": {"activeDeadlineSeconds": 999, "backoffLimit": 7, "ttlSecondsAfterFinished": 77, "stableName": True},
    "agents": [
        {
            "name": "all", "image": "team/all:1", "command": ["run"], "task": "All of it", "payee": "p-1", **POD,
            "budgetUsdc": "0.4", "agentId": "agent-1", "credential": "own", "ownSecret": "theirs", "workId": "w-1",
            "env": {"MINE": "1"}, "parallelism": 2, "completions": 3, "job": {"metadata": {"labels": {"queue": "q"}}},
        },
        {"name": "nightly", "payee": "p-2", "schedule": "5 1 * * *", "timeZone": "Europe/Berlin"},
    ],
    "worker": {
        **POD, "image": "team/worker:1", "command": ["work"], "task": "Work", "payee": "p-3", "budgetUsdc": "0.5",
        "credential": "payer", "env": {"MINE": "2"}, "terminationGracePeriodSeconds": 99, "replicas": 5,
        "probes": not Settings().worker.probes,
    },
    "mcp": {
        "faucetEndpoint": "https://mcp.example/faucet", "escrowEndpoint": "https://mcp.example/escrow",
        "containerPort": 9000, "resources": SMALLER, "denyTools": ["burn"], "payees": ["p-1"], "spendLimitUsdc": "1",
        "podBudgetUsdc": "2", "podDailyBudgetUsdc": "3", "onExceed": "requireApproval",
    },
    "operator": {
        **POD, "image": "team/operator@sha256:" + "b" * 64, "replicas": 2, "watchNamespace": "team-jobs,more",
        "admissionCheck": "money", "resyncSeconds": 45, "scheduledWaitMinutes": 9,
        "formerEscrowUrls": ["https://old.example"], "rerunFailedWork": not Settings().operator.rerun_failed_work,
    },
    "payroll": {
        **POD, "schedule": "7 * * * *", "timeZone": "Asia/Kathmandu", "releaseAgeMinutes": 33, "runCapUsdc": "9",
        "payeeCapUsdc": "8", "activeDeadlineSeconds": 333, "startingDeadlineSeconds": 222,
    },
    "hpa": {
        "minReplicas": 3, "maxReplicas": 9, "escrowQueueThreshold": 4,
        "scaleUp": {"stabilizationSeconds": 11, "pods": 12, "periodSeconds": 13},
        "scaleDown": {"stabilizationSeconds": 14, "pods": 15, "periodSeconds": 16},
        "metricsServer": {**POD, "tls": "certManager", "issuer": "house", "pollSeconds": 8},
    },
    "network": {
        "proxy": {"httpsUrl": "http://10.1.1.1:1", "httpUrl": "http://10.1.1.1:2", "noProxy": [".example"]},
        "caBundle": {"configMap": "ca", "key": "own.crt"},
    },
    "networkPolicy": {
        "monitoringNamespace": "watch",
        "dns": {"namespace": "dns", "podLabels": {"k8s-app": "own"}, "cidrs": ["10.9.0.1/32"], "ports": [5353]},
        "apiServer": {"cidrs": ["10.9.0.2/32"], "ports": [8443]},
        "egress": {"cidrs": ["10.9.0.0/24"], "excludedCidrs": ["10.9.0.128/25"], "ports": [8443]},
    },
    "admission": {"allowedServiceAccounts": ["reports"]},
    "retention": {
        **POD, "archiveAfterDays": 9, "archiveUrl": "s3://b/f", "archiveSecret": "bucket", "keepEscrows": False,
        "schedule": "9 9 * * *", "timeZone": "America/New_York",
    },
    "monitoring": {"enabled": True, "runbookUrl": "https://runbook.example", "openCostUrl": "http://cost.example:9003"},
}  # fmt: skip
"""A stack that pays, with everything on."""
PLAYS: dict[str, Any] = {
    "sandbox": {
        **POD, "enabled": True, "storage": "7Gi", "storageClass": "fast",
        "onlyOwnDialect": not Settings().sandbox.only_own_dialect,
    },
    "credentials": {"existingSecret": "", "agentWallet": "agent-2"},
    "createPolicies": False,
    "payroll": {"enabled": False},
    "escrow": {"autoReleaseOnJobComplete": False},
    "agents": [{"name": "once", "escrowId": "esc_1"}],
    "worker": {"workLog": not Settings().worker.work_log, "replicas": 4},
    "hpa": {"enabled": False},
    "monitoring": {"enabled": True},
    "network": {"caBundle": {"secret": "ca"}},
    "retention": {"archiveAfterDays": 9, "archiveUrl": "file:///archive", "archiveClaim": "accounts"},
}  # fmt: skip
"""One beside a sandbox."""
BARE: dict[str, Any] = {
    **{name: {"enabled": False} for name in ("worker", "mcp", "operator", "payroll", "admission", "networkPolicy")},
    "faucet": {"claimOnStartup": False},
}
"""One with everything off."""
SCALES: dict[str, Any] = {"hpa": {"engine": "keda"}, "networkPolicy": {"kedaNamespace": "scale"}}
_IMAGE = {"images": {"runtime": "team/runtime:1", "allowTag": True}}
STACKS = {"pays": PAYS, "plays": PLAYS, "bare": {**BARE, **_IMAGE}, "scales": {**SCALES, **_IMAGE}}
ONE_VALUE = {"faucet.idempotent", "escrow.escrowAnnotation", "admission.jobGate"}
"""Of these the chart takes one value only."""
ELSEWHERE = {"enabled", "extraManifests"}
"""Tried in tests of their own: nothing is rendered; files beside the stack."""


CHECKED = {"budget.capUsdc", "images.allowTag"}
"""Only checked: no object carries them."""
HELMS = {"retention.keepEscrows"}
"""An annotation for Helm, which is no part of the pure objects."""
_OPEN = ("podTemplate", "job", "env", "podLabels")


def without_effect() -> list[str]:
    """Keys that a stack here says and that change none of its objects, nor are needed by others."""
    tried, reaching = set(), set()
    for mapping in STACKS.values():
        whole = stack.objects(Settings.parse(mapping))
        for path in _written(mapping):
            name = ".".join("[]" if isinstance(part, int) else part for part in path).replace(".[]", "[]")
            tried.add(name)
            try:
                changes = stack.objects(Settings.parse(_less(mapping, path))) != whole
            except BadSettings:
                changes = True
            reaching |= {name} if changes else set()
    return sorted(tried - reaching - CHECKED - HELMS)


def _written(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict) and path[-1:] not in [(name,) for name in _OPEN]:
        for key, item in value.items():
            yield from _written(item, (*path, key))
    elif path == ("agents",):
        for index, item in enumerate(value):
            yield from _written(item, (*path, index))
    else:
        yield path


def _less(mapping: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    found = copy.deepcopy(mapping)
    holder: Any = found
    for part in path[:-1]:
        holder = holder[part]
    del holder[path[-1]]
    return found


def said() -> set[str]:
    """Every key, as `agents[].name`, that a stack here says otherwise than its default."""
    found: set[str] = set()
    for mapping in STACKS.values():
        settings = Settings.parse(mapping).model_dump(mode="json", by_alias=True)
        found |= {path for path, value, key in _leaves(settings, describe(Settings)) if value != key}
    return found


def keys() -> set[str]:
    """Every key that says something about an object of the cluster."""
    sections = describe(Settings).walk()
    paths = (f"{path}.{key.name}" for path, section in sections for key in section.keys if not key.section)
    return {path.removeprefix(f"{ROOT}.") for path in paths if not {*path.split(".")} & {*NO_OBJECT}}


def _leaves(values: dict[str, Any], section: Described, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key, its value, its default."""
    defaults = Settings().model_dump(mode="json", by_alias=True)
    for key in section.keys:
        value, place = values[key.name], f"{path}{key.name}"
        if key.section is None:
            default: Any = defaults
            for part in place.split("."):
                default = default.get(part, key.default) if isinstance(default, dict) else key.default
            yield place, value, key.default if "[]" in place else default
        elif key.repeated:
            for one in value:
                yield from _leaves(one, key.section, f"{place}[].")
        else:
            yield from _leaves(value, key.section, f"{place}.")
