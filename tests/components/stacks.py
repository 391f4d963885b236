"""Stacks that the tests render: a few named ones, and as many generated ones as asked for."""

from typing import Any

from hypothesis import strategies as st

EXAMPLES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "sandbox": {
        "credentials": {"existingSecret": ""},
        "sandbox": {"enabled": True},
        "funding": {"mode": "request"},
        "agents": [{"name": "pf-agent-job", "payee": "worker-agent-007"}],
    },
    "production": {
        "credentials": {"existingSecret": "purpleflea-creds"},
        "budget": {"capUsdc": "25", "namespaceUsdc": "10", "namespaceDailyUsdc": "100"},
        "operator": {"replicas": 2},
        "images": {"runtime": "images.example/purpleflea/runtime@sha256:" + "0" * 64, "pullSecrets": ["pull"]},
        "fly": {"baseImage": "python:3.12-slim@sha256:" + "0" * 64},
        "networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [6443]}},
        "agents": [{"name": "nightly", "schedule": "30 2 * * 1-5", "timeZone": "Europe/Berlin"}],
    },
    "keda": {"hpa": {"engine": "keda", "minReplicas": 0}},
    "prometheus": {"hpa": {"engine": "prometheus"}},
    "external": {"hpa": {"engine": "external"}},
    "cert-manager": {"hpa": {"metricsServer": {"tls": "certManager"}}},
    "cert-manager-issuer": {"hpa": {"metricsServer": {"tls": "certManager", "issuer": "house-ca"}}},
    "queued by Kueue": {"operator": {"admissionCheck": "pf-funding"}},
    "several-namespaces": {
        "operator": {"watchNamespace": "agent-jobs,batch,nightly"},
        "budget": {"namespaceUsdc": "5.00"},
    },
    "selector": {
        "operator": {"watchNamespace": "selector:purpleflea=yes", "replicas": 3},
        "budget": {"namespaceDailyUsdc": "20.00", "jobUsdc": "1.00", "payees": ["worker-*"]},
    },
    "payer's key to agents": {
        "agents": [{"name": "pf-agent-job", "credential": "payer"}],
        "worker": {"credential": "payer"},
    },
    "sidecar's rules": {"mcp": {"podBudgetUsdc": "2", "spendLimitUsdc": "0.50", "payees": ["worker-agent-007"]}},
    "a company's network": {
        "network": {
            "proxy": {"httpsUrl": "http://10.20.30.40:3128", "noProxy": [".example"]},
            "caBundle": {"configMap": "company-ca"},
        },
        "networkPolicy": {"dns": {"namespace": "openshift-dns", "ports": [5353]}},
    },
    "somebody else's cluster": {"createNamespace": False, "createCrd": False, "createPolicies": False},
    "watched by Prometheus": {"monitoring": {"enabled": True, "openCostUrl": "http://opencost.opencost:9003"}},
    "archive in a bucket": {
        "retention": {"archiveAfterDays": 30, "archiveUrl": "s3://accounts/pf", "archiveSecret": "bucket"},
        "operator": {"watchNamespace": "selector:purpleflea=yes"},
        "budget": {"namespaceUsdc": "5.00"},
    },
    "archive in a folder": {
        "retention": {"archiveAfterDays": 1, "archiveUrl": "file:///archive/pf", "archiveClaim": "accounts"},
    },
    "an agent's own key": {"agents": [{"name": "own", "credential": "own"}]},
    "bare": {
        **{name: {"enabled": False} for name in ("worker", "mcp", "operator", "payroll", "hpa", "admission")},
        "networkPolicy": {"enabled": False},
        "faucet": {"claimOnStartup": False},
        "createNamespace": False,
    },
}

_labels = st.from_regex(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True)
_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=40)
_budgets = st.decimals("0.1", "5", places=2).map(str)
_crons = st.sampled_from(["0 * * * *", "*/5 1-6 * * 1-5", "30 4 1,15 * *", "0 0 * * SUN"])
_zones = st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])
_images = st.sampled_from(["", "team/agent:1.2", "host:5000/team/agent:v3", "agent@sha256:" + "a" * 64])
_env = st.dictionaries(st.from_regex(r"MY_[A-Z0-9_]{1,10}", fullmatch=True), _texts, max_size=3)


def _resources() -> st.SearchStrategy[dict[str, Any]]:
    def build(request: tuple[int, int], more: tuple[int, int]) -> dict[str, Any]:
        (cpu, memory), (cpu_more, memory_more) = request, more
        return {
            "requests": {"cpu": f"{cpu}m", "memory": f"{memory}Mi"},
            "limits": {"cpu": f"{cpu + cpu_more}m", "memory": f"{memory + memory_more}Mi"},
        }

    return st.builds(
        build,
        st.tuples(st.integers(1, 4000), st.integers(1, 4096)),
        st.tuples(st.integers(0, 999), st.integers(0, 999)),
    )


@st.composite
def _agents(draw: st.DrawFn, funded: bool) -> list[dict[str, Any]]:
    names = draw(st.lists(st.one_of(_labels, st.just("n" * 52)), max_size=4, unique=True))
    agents = []
    for name in names:
        agent = draw(
            st.fixed_dictionaries(
                {"payee": st.sampled_from(["worker-agent-007", "0xabc", "zürich 1"])},
                optional={
                    "image": _images,
                    "command": st.just(["run", "--it"]),
                    "task": _texts,
                    "budgetUsdc": _budgets,
                    "agentId": _labels,
                    "credential": st.sampled_from(["none", "own", "payer"]),
                    "env": _env,
                    "resources": _resources(),
                    "timeZone": _zones,
                    "schedule": _crons,
                },
            )
        )
        parallelism = draw(st.integers(1, 4))
        agent |= {"name": name, "parallelism": parallelism, "completions": parallelism + draw(st.integers(0, 3))}
        if not funded and "schedule" not in agent and draw(st.booleans()):
            agent["escrowId"] = "esc_1"
        agents.append(agent)
    return agents


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    """A `purpleflea:` section that is right, from anywhere in the space of what is right."""
    flag = st.booleans()
    funded = draw(flag)
    sandbox = draw(flag)
    low = draw(st.integers(1, 30))
    dialect = draw(st.sampled_from(["kubernetes", "fly", "server"]))
    worker = draw(flag)
    namespace = draw(st.one_of(_labels, st.just("s" * 63)))
    watched = st.sampled_from(["", namespace, f"{namespace},other-one", "selector:team=a"])
    tls = st.fixed_dictionaries(
        {"tls": st.sampled_from(["self", "certManager"]), "issuer": st.sampled_from(["", "ca"])}
    )
    url = (
        "http://10.250.0.1:8080" if sandbox and draw(flag) else draw(st.sampled_from(["", "https://pay.example:8443"]))
    )
    return {
        "namespace": namespace,
        "createNamespace": draw(flag),
        "api": {"dialect": dialect},
        "credentials": {
            "existingSecret": draw(st.sampled_from(["", "purpleflea-creds", "other.creds"])),
            "agentWallet": "agent-k8s-prod-cluster-001",
            "apiKeyKey": draw(st.sampled_from(["api-key", "API_KEY"])),
        },
        "services": {"escrowUrl": url, "faucetUrl": url},
        "faucet": {"claimOnStartup": draw(flag), "required": draw(flag)},
        "escrow": {"defaultBudgetUsdc": draw(_budgets), "autoReleaseOnJobComplete": draw(flag)},
        "funding": {"mode": "request" if funded else "annotation"},
        "job": {"ttlSecondsAfterFinished": draw(st.integers(0, 9999)), "stableName": draw(flag)},
        "agents": draw(_agents(funded)),
        "worker": {"enabled": worker, "env": draw(_env), "image": draw(_images), "resources": draw(_resources())},
        "mcp": {"enabled": draw(flag), "containerPort": draw(st.sampled_from([8765, 1024, 65535]))},
        "operator": {
            "enabled": funded or draw(flag),
            "replicas": draw(st.integers(1, 3)),
            "watchNamespace": draw(watched),
        },
        "payroll": {"enabled": draw(flag), "schedule": draw(_crons), "timeZone": draw(_zones)},
        "hpa": {
            "enabled": draw(flag),
            "engine": draw(st.sampled_from(["hpa", "keda", "prometheus", "external"])),
            "minReplicas": low,
            "maxReplicas": low + draw(st.integers(0, 30)),
            "metricsServer": draw(tls),
        },
        "images": {
            "runtime": "team/runtime:1",
            "allowTag": True,
            "pullSecrets": draw(st.lists(_labels, max_size=2, unique=True)),
        },
        "networkPolicy": {
            "enabled": draw(flag),
            "egress": {"cidrs": draw(st.sampled_from([["0.0.0.0/0"], ["198.51.100.0/24", "::/0"]]))},
        },
        "admission": {"enabled": draw(flag), "allowedServiceAccounts": draw(st.lists(_labels, max_size=2))},
        "retention": draw(st.sampled_from([{}, {"archiveAfterDays": 7, "archiveUrl": "s3://b/f"}] if funded else [{}])),
        "sandbox": {"enabled": sandbox, "storageClass": draw(st.sampled_from(["", "fast"]))},
    }
