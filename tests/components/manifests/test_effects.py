"""A setting reaches each container that it concerns, whatever else is set: as the kubelet would start it."""

import json
import re

import pytest

from components.manifests import stack
from components.settings import Settings
from components.settings.description import describe
from tests.components.references import containers, pod_specs

URL, SANDBOX = "https://other.example", "http://pf-sandbox.agent-jobs.svc:8080"
THEIRS = {
    "api-key": "pf_live_x",
    "agent-wallet": "secrets-agent",
    "faucet-url": "https://secrets-faucet.example",
    "escrow-url": "https://secrets-escrow.example",
}
"""What stands in a Secret that exists already."""

AGENTS = {"agent", "worker"}
PAYERS = {"operator", "payroll", "metrics-server"}
OURS = {*PAYERS, "faucet-claim", "pf-mcp-proxy"}
EVERY = {*AGENTS, *OURS, "sandbox"}
SHARED = {
    "logLevel": ("DEBUG", EVERY),
    "hostUsers": (False, EVERY),
    "api.dialect": ("server", {*AGENTS, *PAYERS, "faucet-claim"}),
    "credentials.existingSecret": ("another", {*OURS, "sandbox"}),
    "credentials.agentWallet": ("settings-agent", {*AGENTS, "operator", "payroll", "faucet-claim"}),
    "credentials.apiKeyKey": ("other", {*OURS, "sandbox"}),
    "credentials.agentWalletKey": ("other", {*AGENTS, "operator", "payroll", "faucet-claim"}),
    "credentials.faucetUrlKey": ("other", {*AGENTS, "faucet-claim"}),
    "credentials.escrowUrlKey": ("other", {*AGENTS, *PAYERS}),
    "services.faucetUrl": (URL, {*AGENTS, "faucet-claim", "pf-mcp-proxy"}),
    "services.escrowUrl": (URL, {*AGENTS, *PAYERS, "pf-mcp-proxy"}),
    **{f"services.{name}Url": (URL, AGENTS) for name in ("casino", "trading", "wallet", "domains")},
    "images.runtime": ("team/runtime:2", EVERY),
    "images.pullPolicy": ("Never", EVERY),
    "images.pullSecrets": (["pull"], EVERY),
    "network.proxy.httpsUrl": ("http://proxy.example:3128", EVERY),
    "network.proxy.httpUrl": ("http://proxy.example:3128", EVERY),
    "network.caBundle.configMap": ("company-ca", EVERY),
    "network.caBundle.secret": ("company-ca", EVERY),
    "mcp.containerPort": (9999, {*AGENTS, "pf-mcp-proxy"}),
    "mcp.faucetEndpoint": (URL, {"pf-mcp-proxy"}),
    "mcp.escrowEndpoint": (URL, {"pf-mcp-proxy"}),
}
"""Setting that several programs share → another value, and every container that it concerns."""
BASES = {
    "an existing Secret": {},
    "a created Secret": {"credentials": {"existingSecret": "", "agentWallet": "me"}},
    "a sandbox beside an existing Secret": {"sandbox": {"enabled": True}},
    "a sandbox and a created Secret": {"sandbox": {"enabled": True}, "credentials": {"existingSecret": ""}},
}
OF_THE_SECRETS_URLS = {"credentials.faucetUrlKey", "credentials.escrowUrlKey"}
"""Of no concern beside a sandbox, whose addresses are known."""


def started(settings: Settings) -> dict[str, dict]:
    """Container → all that the kubelet would start it with; the Secret's values are written in."""
    objects = stack.objects(settings, "pf_live_x")
    created = {o["metadata"]["name"]: o["stringData"] for o in objects if o["kind"] == "Secret"}
    found = {}
    for o in objects:
        for labels, pod in pod_specs(o):
            for container in containers(pod):
                is_agent, component = container["name"] == "agent", labels["app.kubernetes.io/component"]
                name = component if is_agent else container["name"]  # `agent`, or `worker`
                mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
                volumes = [volume for volume in pod.get("volumes", ()) if volume["name"] in mounted]
                environment: dict[str, str] = {}
                for variable in container["env"]:
                    value = _value(variable, created)
                    environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda v, e=environment: e[v[1]], value)
                found[name] = {
                    **container,
                    "env": environment,
                    "sources": container["env"],
                    "volumes": volumes,
                    "pod": [pod.get("imagePullSecrets"), pod.get("hostUsers")],
                }
    return found


def _value(variable, created):
    source = variable.get("valueFrom", {}).get("secretKeyRef")
    if source is None:
        return variable.get("value", "of the pod")
    known = created.get(source["name"])
    return known[source["key"]] if known else THEIRS.get(source["key"], json.dumps(source))


def changed(mapping: dict, path: str, value) -> dict:
    first, _, rest = path.partition(".")
    return mapping | {first: changed(mapping.get(first, {}), rest, value) if rest else value}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("path", SHARED)
def test_a_shared_setting_reaches_every_container_that_it_concerns(path, base):
    value, concerned = SHARED[path]
    before, after = (Settings.parse(mapping) for mapping in (BASES[base], changed(BASES[base], path, value)))
    told = {name for name, one in started(after).items() if one != started(before)[name]}
    running = concerned if before.sandbox.enabled else concerned - {"sandbox"}
    assert told >= (set() if before.sandbox.enabled and path in OF_THE_SECRETS_URLS else running)


def test_the_table_has_every_setting_that_programs_share():
    sections = ("api", "credentials", "services", "images")
    shared = {f"{section}.{key.name}" for section in sections for key in describe(Settings).at((section,)).keys}
    assert shared - {*SHARED} == {"images.allowTag"}, "allows, and changes nothing"


@pytest.mark.parametrize("sandbox", [False, True])
@pytest.mark.parametrize("existing", ["", "purpleflea-creds"])
@pytest.mark.parametrize("given", ["", URL])
def test_which_of_three_addresses_counts(given, existing, sandbox):
    """The settings' wins, then the sandbox's, and the Secret's is the fallback: in every container alike."""
    credentials = {"existingSecret": existing, "agentWallet": "me"}
    services = {"escrowUrl": given, "faucetUrl": given}
    settings = Settings.parse({"credentials": credentials, "services": services, "sandbox": {"enabled": sandbox}})
    public, theirs = ("https://escrow.purpleflea.com", THEIRS["escrow-url"])
    expected = given or (SANDBOX if sandbox else theirs if existing else public)
    found = {name: one["env"].get("PF_ESCROW_URL") for name, one in started(settings).items()}
    where = AGENTS | PAYERS | (set() if given or sandbox else {"pf-mcp-proxy"})
    assert {name: url for name, url in found.items() if url} == dict.fromkeys(where, expected)
    faucet = expected.replace("escrow", "faucet")
    found = {name: one["env"].get("PF_FAUCET_URL") for name, one in started(settings).items()}
    where = where - PAYERS | {"faucet-claim"}
    assert {name: url for name, url in found.items() if url} == dict.fromkeys(where, faucet)


@pytest.mark.parametrize("sandbox", [False, True])
@pytest.mark.parametrize("given", ["", URL])
def test_the_sidecar_speaks_to_the_same_services_as_the_rest_of_the_stack(given, sandbox):
    """Where only an existing Secret says which, too: else the payer's key went to another service than the money."""
    services = {"escrowUrl": given, "faucetUrl": given}
    sidecar = started(Settings.parse({"services": services, "sandbox": {"enabled": sandbox}}))["pf-mcp-proxy"]["env"]
    for service in ("escrow", "faucet"):
        secrets = f"{THEIRS[f'{service}-url']}/mcp"
        expected = f"{given}/mcp" if given else f"{SANDBOX}/{service}/mcp" if sandbox else secrets
        assert sidecar[f"MCP_{service.upper()}_URL"] == expected
