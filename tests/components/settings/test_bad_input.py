"""Wrong settings: one clear line for each mistake, with its full path and what is allowed."""

# ruff: noqa: E501 - a table is read by its rows

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings import BadSettings, Settings
from components.settings.description import describe


def mistakes(mapping) -> list[str]:
    """The lines that a person reads, after the heading."""
    with pytest.raises(BadSettings) as caught:
        Settings.parse(mapping)
    return [str(problem) for problem in caught.value.problems]


def resources(requests, limits):
    return {"requests": {"cpu": requests, "memory": "64Mi"}, "limits": {"cpu": limits, "memory": "64Mi"}}


JOBS = "purpleflea.agents[0]"
TABLE = {
    "a name too long": ({"agents": [{"name": "a" * 53}]}, f"{JOBS}.name: {'a' * 53!r} of 53 characters: at most 52"),
    "an empty list": ({"budget": {"payees": []}}, "purpleflea.budget.payees: a list of 0 entries: at least 1"),
    "unknown key, near one": ({"hpa": {"minreplicas": 3}}, "purpleflea.hpa.minreplicas: unknown key (allowed: minReplicas, maxReplicas, enabled, engine, escrowQueueThreshold, scaleUp, scaleDown, metricsServer); did you mean minReplicas?"),
    "unknown key, near none": ({"hpa": {"zzz": 3}}, "purpleflea.hpa.zzz: unknown key (allowed: enabled, engine,"),
    "python's spelling": ({"hpa": {"min_replicas": 3}}, "purpleflea.hpa.min_replicas: unknown key (allowed: minReplicas"),
    "unknown section": ({"operatr": {}}, "purpleflea.operatr: unknown key (allowed: operator"),
    "unknown key in a list": ({"agents": [{"name": "a", "img": "x"}]}, f"{JOBS}.img: unknown key (allowed: image"),
    "a list for the whole": ([], "purpleflea: a mapping of keys is needed, not a list"),
    "a list for a section": ({"payroll": []}, "purpleflea.payroll: a mapping of keys is needed, not a list"),
    "a section for a list": ({"agents": {}}, "purpleflea.agents: a list is needed, not a mapping"),
    "a mapping for text": ({"worker": {"env": {"A": {"valueFrom": {}}}}}, "purpleflea.worker.env.A: text is needed, not a mapping"),
    "a word for a flag": ({"worker": {"enabled": "yes"}}, "purpleflea.worker.enabled: true or false is needed, not 'yes'"),
    "a flag for a number": ({"hpa": {"minReplicas": True}}, "purpleflea.hpa.minReplicas: a whole number from 0 to 1000 is needed, not True"),
    "a key set without --path": ({"hpa.minReplicas": "3"}, "purpleflea.hpa.minReplicas: the key 'hpa.minReplicas' is a path that was set without --path"),
    "Kubernetes' word for nothing here": ({"agents": [{"name": "a", "tolerations": []}]}, f"{JOBS}.tolerations: unknown key (allowed: name, image,"),
    "a number for text": ({"namespace": 5}, "purpleflea.namespace: text is needed, not 5; put it in quotes"),
    "a number in quotes": ({"mcp": {"containerPort": "80"}}, "purpleflea.mcp.containerPort: a whole number from 1 to 65535 is needed, not '80'; leave the quotes out"),
    "a port in a list": ({"networkPolicy": {"dns": {"ports": [0]}}}, "purpleflea.networkPolicy.dns.ports[0]: a whole number from 1 to 65535 is needed, not 0"),
    "memory in no steps": ({"fly": {"machine": {"memoryMb": 300}}}, "purpleflea.fly.machine.memoryMb: a multiple of 256 from 256 to 131072 is needed, not 300"),
    "text for a number": ({"hpa": {"minReplicas": "x"}}, "purpleflea.hpa.minReplicas: a whole number from 0 to 1000 is needed, not 'x'"),
    "Kubernetes' own namespace": ({"namespace": "kube-system"}, "purpleflea.namespace: 'kube-system' is Kubernetes' own; choose"),
    "a watched one": ({"operator": {"watchNamespace": "agent-jobs,kube-public"}}, "purpleflea.operator.watchNamespace: 'kube-public' is Kubernetes' own"),
    "everybody's namespace": ({"namespace": "default"}, "purpleflea.namespace: 'default' is there already, and is not the stack's: set createNamespace: false"),
    "a proxy's password": ({"network": {"proxy": {"httpsUrl": "http://me:word@proxy:1"}}}, "purpleflea.network.proxy.httpsUrl: a service URL carries no user, password"),
    "two exceptions in one": ({"network": {"proxy": {"noProxy": ["a,b"]}}}, "purpleflea.network.proxy.noProxy[0]: 'a,b': a host, a domain or a network"),
    "two bundles": ({"network": {"caBundle": {"secret": "a", "configMap": "b"}}}, "purpleflea.network.caBundle: is a ConfigMap or a Secret, not both"),
    "the payer's Secret as a bundle": ({"network": {"caBundle": {"secret": "purpleflea-creds"}}}, "purpleflea.network.caBundle.secret: is the payer's Secret"),
    "out of bounds": ({"escrow": {"timeoutHours": 721}}, "purpleflea.escrow.timeoutHours: a whole number from 1 to 720 is needed, not 721"),
    "no such choice": ({"target": "cloud"}, "purpleflea.target: 'cloud' is not allowed (allowed: artifacts, cluster)"),
    "float amount": ({"escrow": {"defaultBudgetUsdc": 0.1}}, "purpleflea.escrow.defaultBudgetUsdc: write the amount in quotes"),
    "seven decimals": ({"budget": {"capUsdc": "0.1234567"}}, "purpleflea.budget.capUsdc: 0.1234567 USDC: allowed are 0 to"),
    "negative amount": ({"budget": {"capUsdc": "-1"}}, "purpleflea.budget.capUsdc: -1 USDC: allowed are 0 to"),
    "no amount": ({"budget": {"capUsdc": "ten"}}, "purpleflea.budget.capUsdc: 'ten' is no amount; write USDC as a decimal"),
    "infinite amount": ({"budget": {"capUsdc": "inf"}}, "purpleflea.budget.capUsdc: inf USDC: allowed are 0 to"),
    "no quantity": ({"payroll": {"resources": resources("64MB", "1")}}, "purpleflea.payroll.resources.requests.cpu: '64MB' is no Kubernetes quantity"),
    "less than no CPU": ({"payroll": {"resources": resources("-1", "1")}}, "purpleflea.payroll.resources.requests.cpu: '-1' must not be less than zero"),
    "request above the default limit": ({"worker": {"resources": {"requests": {"cpu": "2"}}}}, "purpleflea.worker.resources.requests.cpu: 2 must not exceed the limit, 1000m"),
    "volume of nothing": ({"sandbox": {"storage": "0"}}, "purpleflea.sandbox.storage: '0' must be more than zero"),
    "request above limit": ({"payroll": {"resources": resources("2", "1500m")}}, "purpleflea.payroll.resources.requests.cpu: 2 must not exceed the limit, 1500m"),
    "request above limit in a list": ({"agents": [{"name": "a", "resources": resources("2", "1")}]}, f"{JOBS}.resources.requests.cpu: 2 must not"),
    "cron with six fields": ({"payroll": {"schedule": "0 0 * * * *"}}, "purpleflea.payroll.schedule: '0 0 * * * *' has 6 fields, five are needed"),
    "cron out of range": ({"payroll": {"schedule": "61 * * * *"}}, "purpleflea.payroll.schedule: '61 * * * *': '61' is no minute: 0 to 59 are allowed"),
    "Sunday as 7": ({"payroll": {"schedule": "0 0 * * 7"}}, "purpleflea.payroll.schedule: '0 0 * * 7': '7' is no day of week: 0 to 6"),
    "time zone in a schedule": ({"payroll": {"schedule": "TZ=UTC 0 0 * * *"}}, "purpleflea.payroll.schedule: 'TZ=UTC 0 0 * * *': a schedule names no time zone"),
    "time zone": ({"payroll": {"timeZone": "Mars/Base"}}, "purpleflea.payroll.timeZone: 'Mars/Base' is no IANA time zone"),
    "time zone as a path": ({"payroll": {"timeZone": "../../etc/passwd"}}, "purpleflea.payroll.timeZone: '../../etc/passwd' is no IANA"),
    "time zone of the budgets": ({"budget": {"timeZone": "Mars/Base"}}, "purpleflea.budget.timeZone: 'Mars/Base'"),
    "name": ({"namespace": "Agents_1"}, "purpleflea.namespace: 'Agents_1': at most 63 of a-z, 0-9 and '-'"),
    "name too long for its suffixes": ({"agents": [{"name": "n" * 53}]}, f"{JOBS}.name: "),
    "image without a tag": ({"images": {"runtime": "python"}}, "purpleflea.images.runtime: 'python': pin the image by a tag"),
    "image of today": ({"operator": {"image": "op:latest"}}, "purpleflea.operator.image: 'op:latest': pin the image by a tag other than 'latest'"),
    "URL without a scheme": ({"services": {"escrowUrl": "escrow.example"}}, "purpleflea.services.escrowUrl: 'escrow.example': a URL with scheme"),
    "URL with credentials": ({"services": {"escrowUrl": "https://me:pw@host"}}, "purpleflea.services.escrowUrl: a service URL carries no user"),
    "http without a sandbox": ({"services": {"escrowUrl": "http://host"}}, "purpleflea.services.escrowUrl: must be https"),
    "network": ({"networkPolicy": {"egress": {"cidrs": ["10.0.0.1/8"]}}}, "purpleflea.networkPolicy.egress.cidrs[0]: 10.0.0.1/8 has host bits set; write"),
    "replicas crossed": ({"hpa": {"minReplicas": 9, "maxReplicas": 8}}, "purpleflea.hpa.minReplicas: 9 must not exceed maxReplicas (8)"),
    "deadline past the time-out": ({"job": {"activeDeadlineSeconds": 86400}}, "purpleflea.job.activeDeadlineSeconds: must be below the escrow's time-out, 86400"),
    "release age past the time-out": ({"escrow": {"timeoutHours": 1}, "job": {"activeDeadlineSeconds": 9}, "payroll": {"releaseAgeMinutes": 60}}, "purpleflea.payroll.releaseAgeMinutes: must be below the escrow's time-out, 60"),
    "two agents of one name": ({"agents": [{"name": "a"}, {"name": "a"}]}, f"{JOBS}.name: 'a' stands 2 times; names are unique"),
    "nobody to pay": ({"funding": {"mode": "request"}}, f"{JOBS}.payee: is required where the operator funds the Job"),
    "nobody who funds": ({"funding": {"mode": "request"}, "operator": {"enabled": False}, "agents": []}, "purpleflea.funding.mode: request needs the operator"),
    "one escrow for a schedule": ({"agents": [{"name": "a", "schedule": "0 * * * *", "escrowId": "e"}]}, f"{JOBS}.escrowId: pays for one Job only"),
    "namespaces with a blank": ({"operator": {"watchNamespace": "agent-jobs, b"}}, "purpleflea.operator.watchNamespace: ' b': at most 63 of a-z"),
    "a selector that is none": ({"operator": {"watchNamespace": "selector:team"}}, "purpleflea.operator.watchNamespace: 'selector:team': a selector over"),
    "own Jobs forgotten": ({"operator": {"watchNamespace": "other"}}, "purpleflea.operator.watchNamespace: 'other' leaves out the stack's own namespace"),
    "an id of two lines": ({"agents": [{"name": "a", "payee": "x\ny"}]}, f"{JOBS}.payee: "),
    "text with NUL": ({"worker": {"task": "a\0b"}}, "purpleflea.worker.task: "),
    "fewer completions than pods": ({"agents": [{"name": "a", "parallelism": 3, "completions": 2}]}, f"{JOBS}.completions: 2 is fewer"),
    "a variable of ours": ({"agents": [{"name": "a", "env": {"PF_API_KEY": "x"}}]}, f"{JOBS}.env.PF_API_KEY: is set by the stack"),
    "a variable that is none": ({"worker": {"env": {"A=B": "x"}}}, "purpleflea.worker.env.A=B: 'A=B': a variable's name is printable ASCII"),
    "a budget of zero": ({"agents": [{"name": "a", "budgetUsdc": "0"}]}, f"{JOBS}.budgetUsdc: 0.00 USDC is below the service's minimum for an escrow, 0.10"),
    "a budget below the minimum": ({"escrow": {"defaultBudgetUsdc": "0.05"}}, "purpleflea.escrow.defaultBudgetUsdc: 0.05 USDC is below the service's minimum"),
    "a cap of zero": ({"budget": {"capUsdc": "0"}}, "purpleflea.budget.capUsdc: 0.00 USDC is less than the stack may lock"),
    "a name with an end of line": ({"namespace": "agents\n"}, "purpleflea.namespace: 'agents\\n': at most 63"),
    "no Secret and no agent id": ({"credentials": {"existingSecret": ""}}, "purpleflea.credentials.agentWallet: is required"),
    "one key for two things": ({"credentials": {"apiKeyKey": "k", "faucetUrlKey": "k"}}, "purpleflea.credentials: key 'k' stands for 2 different things"),
    "a port in use": ({"mcp": {"containerPort": 8081}}, "purpleflea.mcp.containerPort: 8081: 1024 to 65535"),
    "no key for encryption": ({"encryption": {"provider": "aws"}}, "purpleflea.encryption.keyId: is required for provider 'aws'"),
    "an archive nowhere": ({"retention": {"archiveAfterDays": 9}}, "purpleflea.retention.archiveUrl: is required with archiveAfterDays"),
    "an archive in the container": ({"retention": {"archiveAfterDays": 9, "archiveUrl": "file:///archive"}}, "purpleflea.retention.archiveClaim: is required for a folder"),
    "an archive beside the claim": ({"retention": {"archiveAfterDays": 9, "archiveUrl": "file:///tmp"}}, "purpleflea.retention.archiveUrl: must lie below /archive"),
    "an archive of another kind": ({"retention": {"archiveUrl": "ftp://a/b"}}, "purpleflea.retention.archiveUrl: 'ftp://a/b': a folder or a bucket"),
    "the payer's key for an archive": ({"retention": {"archiveAfterDays": 9, "archiveUrl": "s3://b/f", "archiveSecret": "purpleflea-creds"}}, "purpleflea.retention.archiveSecret: is the payer's Secret"),
    "an archive at once": ({"retention": {"archiveAfterDays": 0, "archiveUrl": "s3://b/f"}}, "purpleflea.retention.archiveAfterDays: a whole number from 1 to 3650 is needed, not 0"),
    "over the cap": ({"budget": {"capUsdc": "2.12"}}, "purpleflea.budget.capUsdc: 2.12 USDC is less than the stack may lock at one time: 20 workers x 0.10 + 1 Jobs x 0.10 = 2.10 USDC, and 0.021 USDC of fees, together 2.121 USDC"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_mistake_is_told(case):
    mapping, line = TABLE[case]
    told = mistakes(mapping)
    assert told[0].startswith(line)
    assert len({text.split(": ")[0] for text in told}) == len(told), "one mistake, several lines"


def test_all_mistakes_are_told_at_once():
    told = mistakes(
        {
            "hpaa": {},
            "hpa": {"minReplicas": "x"},
            "agents": [
                {"name": "A"},
                {"name": "b", "resources": {"requests": {"cpu": "x"}, "limits": {"memory": "y"}}},
            ],
            "payroll": {"resources": resources("2", "1")},
            "services": {"escrowUrl": "http://host"},
            "encryption": {"provider": "gcp"},
        }
    )
    assert [line.split(": ")[0].removeprefix("purpleflea.") for line in told] == [
        "agents[0].name",
        "agents[1].resources.limits.memory",
        "agents[1].resources.requests.cpu",
        "encryption.keyId",
        "hpa.minReplicas",
        "hpaa",
        "payroll.resources.requests.cpu",
        "services.escrowUrl",
    ]


def test_finding_that_rests_on_a_mistake_is_left_out():
    """`maxReplicas` is unreadable, so nothing can be said about the order of the two."""
    assert len(mistakes({"hpa": {"minReplicas": 30, "maxReplicas": "many"}})) == 1


def test_message_is_what_the_readme_shows():
    mapping = {
        "hpa": {"minreplicas": 3},
        "escrow": {"defaultBudgetUsdc": 0.1},
        "payroll": {"schedule": "61 * * * *"},
    }
    with pytest.raises(BadSettings) as caught:
        Settings.parse(mapping)
    readme = Path(__file__).parents[3] / "README.md"
    assert f"```\n{caught.value}\n```" in readme.read_text()


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)  # fmt: skip


@given(section=st.sampled_from([str(f.alias) for f in Settings.model_fields.values()]), value=_json)
def test_anything_else_is_right_or_told(section, value):
    """Whatever stands in a section: it is taken, or it is an error that a person can read. Nothing else gets out."""
    with contextlib.suppress(BadSettings):
        Settings.parse({section: value})
        return
    assert all(line.startswith("purpleflea") for line in mistakes({section: value}))


DIGEST = "team/runtime@sha256:" + "0" * 64
BASE = {"baseImage": "python:3.12-slim@sha256:" + "0" * 64}
UNDECIDED = "purpleflea.images.runtime: is required where there is no sandbox"
BY_TAG = "name the image by its digest, name@sha256:..."


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"fly": BASE}, [UNDECIDED]),
        ({"sandbox": {"enabled": True}}, []),
        ({"enabled": False}, []),
        ({"images": {"runtime": DIGEST}, "fly": BASE}, []),
        ({"images": {"runtime": DIGEST}, "fly": {"enabled": False}}, []),
        ({"images": {"runtime": DIGEST}}, ["purpleflea.fly.baseImage: 'python:3.12-slim': " + BY_TAG]),
        ({"images": {"runtime": "team/runtime:1@sha256:" + "0" * 64}, "fly": BASE}, []),
        ({"images": {"runtime": "team/runtime:1"}, "fly": BASE}, [BY_TAG]),
        ({"images": {"runtime": "team/runtime:1", "allowTag": True}}, []),
        ({"images": {"allowTag": True}}, [UNDECIDED]),
        ({"images": {"runtime": DIGEST}, "fly": BASE, "operator": {"image": "team/operator:1"}}, [BY_TAG]),
        ({"images": {"runtime": DIGEST}, "fly": BASE, "operator": {"image": DIGEST}}, []),
        ({"hpa": {"zzz": 3}, "fly": BASE}, ["purpleflea.hpa.zzz: unknown key", UNDECIDED]),
    ],
)
def test_whoever_gets_the_payers_key_is_named_by_digest(mapping, told):
    """The default's name is a public one; a tag is whatever was pushed last."""
    found = []
    try:
        Settings.parse(mapping, deployed=True)
    except BadSettings as error:
        found = [str(problem) for problem in error.problems]
    assert len(found) == len(told)
    assert all(words in line for words, line in zip(told, found, strict=True))


def filled(section, value):
    """A section whose every key has the same value."""
    inner = {key.name: filled(key.section, value) if key.section else value for key in section.keys}
    return {key.name: [inner[key.name]] if key.repeated else inner[key.name] for key in section.keys}


@pytest.mark.parametrize("value", ["text", -1, 10**12, 1.5, True, None, [], {}, [1], [{}], {"a": 1}, "7", "true"])
def test_no_mistake_is_told_in_the_words_of_a_library(value):
    """pydantic says "Input should be a valid integer"; whoever wrote a stack file gave no input."""
    lines = mistakes(filled(describe(Settings), value))
    assert len(lines) > 50, "nearly every key was refused"
    assert not [line for line in lines if "should" in line or "valid " in line.partition(": ")[2]]
