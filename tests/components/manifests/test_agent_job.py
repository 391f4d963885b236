"""Agents' Jobs: what changes makes a new name, what is set when, and what the finalizer depends on."""

import json

import pytest

from components.manifests import agent_job, agent_workers
from components.settings import Settings
from runtime.contract import SETTLEMENT_FINALIZER, WORK_ID_ANNOTATION

REQUEST = {"funding": {"mode": "request"}}


def job(agent=None, **mapping):
    """The rendered Job of one agent."""
    settings = Settings.parse({"agents": [{"name": "pf-agent-job"} | (agent or {})], **mapping})
    return agent_job.build(settings, settings.agents[0])


@pytest.mark.parametrize(
    "change",
    [
        {"agent": {"task": "Another task"}},
        {"agent": {"budgetUsdc": "0.20"}},
        {"agent": {"escrowId": "esc_2"}},
        {"agent": {"env": {"MODE": "fast"}}},
        {"images": {"runtime": "purpleflea/runtime:0.2.0"}},
        {"job": {"backoffLimit": 3}},
    ],
)
def test_changed_job_has_a_new_name(change):
    """A Job's template cannot change: under the old name this would end in "field is immutable"."""
    assert job(**change)["metadata"]["name"] != job()["metadata"]["name"]


def test_job_of_another_agent_keeps_its_name():
    """A change must not start other agents' work again, which is paid work."""
    settings = Settings.parse(
        {"agents": [{"name": "pf-agent-job"}, {"name": "b", "task": "else"}], "payroll": {"enabled": False}}
    )
    assert agent_job.build(settings, settings.agents[0]) == job()


def test_guides_name_is_found_and_can_be_kept():
    made = job()
    assert made["metadata"]["name"].startswith("pf-agent-job-")
    for labels in (made["metadata"]["labels"], made["spec"]["template"]["metadata"]["labels"]):
        assert labels["purpleflea.com/agent"] == "pf-agent-job"
        assert labels["app"] == "purple-flea-agent"
    assert job(job={"stableName": True})["metadata"]["name"] == "pf-agent-job"


@pytest.mark.parametrize("agent", [{}, {"schedule": "0 6 * * *"}])
def test_no_manifest_holds_a_job_where_the_api_server_does(agent):
    """What stands in a manifest is put back by whatever applies it again, onto a Job that runs by then."""
    text = json.dumps(job(agent | {"payee": "worker-agent-007"}, **REQUEST))
    assert SETTLEMENT_FINALIZER not in text
    assert "suspend" not in text


def test_on_an_older_cluster_the_manifest_holds_the_job():
    by_manifest = {"admission": {"jobGate": "manifest"}}
    made = job({"payee": "worker-agent-007"}, **REQUEST, **by_manifest)
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["finalizers"] == [SETTLEMENT_FINALIZER]
    by_hand = job({"escrowId": "esc_1"}, **by_manifest)
    assert "suspend" not in by_hand["spec"]
    assert by_hand["metadata"]["finalizers"] == [SETTLEMENT_FINALIZER]
    nobody_takes_it_off = job(operator={"enabled": False}, **by_manifest)
    assert "finalizers" not in nobody_takes_it_off["metadata"]


def test_a_job_of_the_manifests_outlives_its_end_and_a_scheduled_one_does_not():
    """Whatever applies the manifests again would create a vanished Job anew, and it would be paid again."""
    assert "ttlSecondsAfterFinished" not in job()["spec"]
    scheduled = job({"schedule": "0 6 * * *", "payee": "worker-agent-007"}, **REQUEST)
    assert scheduled["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 3600


def test_funded_job_asks_for_its_money():
    made = job({"payee": "worker-agent-007", "budgetUsdc": "2"}, **REQUEST)
    request = json.loads(made["metadata"]["annotations"]["purpleflea.com/escrow-request"])
    assert request == {"payee": "worker-agent-007", "amountUsdc": "2.00"}


def test_escrow_made_by_hand_is_named():
    assert job({"escrowId": "esc_1"})["metadata"]["annotations"]["purpleflea.com/escrow-id"] == "esc_1"
    assert "purpleflea.com/escrow-id" not in job()["metadata"]["annotations"]


@pytest.mark.parametrize("stable", [False, True])
def test_the_work_of_a_job_is_its_agent_and_its_content_unless_somebody_names_it(stable):
    """A Job that is created anew is known again, whether or not its name says what is in it."""
    settings = {"job": {"stableName": stable}}
    identity = work_id(job(**settings))
    assert identity.startswith("pf-agent-job-")
    assert stable or identity == job()["metadata"]["name"]
    assert work_id(job({"task": "Another task"}, **settings)) != identity
    named = [work_id(job({"workId": "report/1", "task": task}, **settings)) for task in ("a", "b")]
    assert named == ["report/1", "report/1"]


def test_a_scheduled_time_is_a_work_whatever_the_content():
    runs = [job({"schedule": "0 6 * * *", "task": task, "payee": "p"}, **REQUEST) for task in ("a", "b")]
    assert [work_id(run["spec"]["jobTemplate"]) for run in runs] == ["pf-agent-job"] * 2
    assert "annotations" not in runs[0]["metadata"], "the CronJob is no work"


def work_id(made):
    return made["metadata"]["annotations"][WORK_ID_ANNOTATION]


def test_schedule_makes_a_cron_job_whose_every_run_asks_for_money():
    made = job({"schedule": "0 6 * * *", "payee": "worker-agent-007"}, **REQUEST)
    template = made["spec"]["jobTemplate"]
    assert (made["kind"], made["metadata"]["name"]) == ("CronJob", "pf-agent-job")
    assert "purpleflea.com/escrow-request" in template["metadata"]["annotations"]
    assert made["spec"]["concurrencyPolicy"] == "Forbid"


def test_bad_setting_fails_the_job_at_once_and_a_drained_node_does_not():
    *wrong, drained = job()["spec"]["podFailurePolicy"]["rules"]
    assert [(rule["action"], rule["onExitCodes"]["values"]) for rule in wrong] == [("FailJob", [2])] * 2
    assert (drained["action"], drained["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")


@pytest.mark.parametrize("claims", [True, False])
def test_another_containers_exit_code_ends_no_job(claims):
    """A sidecar may exit with 2 for reasons of its own, and the Job has retries left."""
    made = job(mcp={"enabled": True}, faucet={"claimOnStartup": claims})
    named = [r["onExitCodes"]["containerName"] for r in made["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in r]
    assert named == (["faucet-claim"] if claims else []) + ["agent"]


def test_agents_own_identity():
    def identity(made):
        return [v for c in made["spec"]["template"]["spec"]["containers"] for v in c["env"] if v["name"] == "AGENT_ID"]

    assert identity(job({"agentId": "research-1"})) == [{"name": "AGENT_ID", "value": "research-1"}]
    assert identity(job())[0]["valueFrom"]["secretKeyRef"]["key"] == "agent-wallet"


def test_agents_and_workers_get_no_token_and_no_other_key():
    """An agent runs whatever its author wrote: it gets what the guide names and no way to the API server.

    Workers that keep a work log have one, to an account that may claim tasks and no more.
    """
    workers = agent_workers.deployment(Settings.parse({"worker": {"workLog": False}}))
    for pod in (job()["spec"]["template"]["spec"], workers["spec"]["template"]["spec"]):
        assert pod["automountServiceAccountToken"] is False
        agent = pod["containers"][0]
        assert "credentials" not in [mount["name"] for mount in agent["volumeMounts"]]


def test_nobody_fights_over_replicas():
    assert "replicas" not in agent_workers.deployment(Settings())["spec"]
    fixed = Settings.parse({"hpa": {"enabled": False}, "worker": {"replicas": 4}})
    assert agent_workers.deployment(fixed)["spec"]["replicas"] == 4
