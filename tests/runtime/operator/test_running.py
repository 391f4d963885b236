"""Starting, stopping, probing; what is missing is named; no secret anywhere."""

import json
import signal
from pathlib import Path

import pytest
import yaml
from lightkube.resources.core_v1 import Event
from lightkube.resources.rbac_authorization_v1 import Role

from components.manifests import naming
from runtime.contract import Env
from tests.components.monitored import OF_OTHERS, missing_in
from tests.runtime.operator.proof import numbered
from tests.runtime.operator.step_proxy import Counter
from tests.runtime.operator.world import START_SECONDS, eventually


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({Env.WATCH_NAMESPACE: ""}, "WATCH_NAMESPACE is not set"),
        ({Env.RESYNC_SECONDS: "soon"}, "PF_RESYNC_SECONDS is 'soon'"),
        ({Env.NAMESPACE_BUDGET_USDC: "-1"}, "PF_NAMESPACE_BUDGET_USDC"),
        ({Env.AUTO_RELEASE: "maybe"}, "expected true or false"),
        ({Env.ALLOW_HTTP: "yes"}, "PF_ALLOW_HTTP is 'yes'"),
        ({Env.DEFAULT_BUDGET_USDC: "free"}, "PF_DEFAULT_BUDGET_USDC"),
        ({Env.API_KEY: ""}, "no API key"),
        ({Env.ESCROW_URL: ""}, "PF_ESCROW_URL is not set"),
        ({Env.ESCROW_URL: "ftp://x"}, "https://"),
        ({Env.API_DIALECT: "klingon"}, "PF_API_DIALECT is 'klingon': expected one of kubernetes"),
        ({Env.LOG_LEVEL: "LOUD"}, "PF_LOG_LEVEL"),
        ({"KUBECONFIG": "/nonexistent"}, "kubeconfig"),
    ],
)
def test_a_wrong_setting_ends_at_once_with_its_name(world, changes, words):
    operator = world.operator(wait=False, anew=True, **changes)
    assert operator.process.wait(START_SECONDS) == 2
    assert words in operator.log()
    assert "Traceback" not in operator.log()


@pytest.mark.parametrize(
    ("role", "words"),
    [(naming.OPERATOR, ("escrows", "cannot list")), (f"{naming.OPERATOR}-lease", ("leases", "cannot create"))],
)
def test_a_missing_right_is_named(world, role, words):
    world.client.delete(Role, role)
    operator = world.operator(wait=False)
    assert operator.process.wait(START_SECONDS) == 2
    assert all(word in operator.log() for word in (*words, "docs/rbac.md"))


def test_an_api_server_out_of_reach_is_said_and_tried_again_by_the_kubelet(world, tmp_path):
    kubeconfig = tmp_path / "away.kubeconfig"
    kubeconfig.write_text(world.kubeconfig.read_text().replace(world.cluster.url, "https://127.0.0.1:1"))
    operator = world.operator(wait=False, KUBECONFIG=str(kubeconfig))
    assert operator.process.wait(START_SECONDS) == 1
    assert "no connection to" in operator.log()


def test_probes_tell_progress_and_metrics_tell_money(world):
    operator = world.operator()
    escrow_id = world.fund("1.00")
    world.job("counted", escrow_id)
    world.finish("counted")
    world.await_phase("counted", "Settled")
    assert operator.probe("/livez") == 200
    world.sandbox.fault("release", "reset", moment="after", nth=1)
    world.sandbox.issue_key("worker-x")
    world.job("doubted", world.fund("1.00", "worker-x", "by-hand-doubt"))
    world.finish("doubted")
    world.await_phase("doubted", "Settled")
    metrics = operator.metrics()
    assert 'escrow_api_errors_total{api="payments",kind="unknown"} 1.0' in metrics
    assert 'escrow_settlements_total{action="release",outcome="Paid"} 2.0' in metrics
    assert "escrow_paid_usdc_total 1.98" in metrics
    assert missing_in(metrics) == OF_OTHERS, "what an alert or the dashboard names is told by a program that runs"
    eventually(lambda: "escrow_locked_usdc 0.0" in operator.metrics(), "the next list counts nothing locked")
    assert operator.stop() == 0


def test_liveness_fails_when_nothing_was_listed_for_long(world):
    """The list is refused for ever, so the operator lives without progress; its probe must not say that all is well."""
    operator = world.operator(**{Env.RESYNC_SECONDS: "1"})
    assert operator.probe("/livez") == 200
    world.client.delete(Role, naming.OPERATOR)
    eventually(lambda: operator.probe("/livez") == 503, "liveness notices", seconds=30)


def test_an_operator_outlives_an_api_server_that_is_away(world):
    """A new process could not reach it either, and the kubelet lets the fifth one wait for minutes."""
    with numbered(world, Counter()) as (changes, api):
        operator = world.operator(**changes, **{Env.RESYNC_SECONDS: "1"})
        api.overloaded = "/"  # as an API server does whose etcd is away
        # Without a complete list liveness would fail after three periods and five seconds.
        eventually(lambda: operator.log().count("not everything could be listed") > 8, "so long it is away")
        assert operator.probe("/livez") == 200
        api.overloaded = ""
        world.job("after", world.fund())
        world.finish("after")
        world.await_phase("after", "Settled")


def test_no_secret_in_logs_events_metrics_or_objects(world):
    operator = world.operator(PF_LOG_LEVEL="DEBUG")
    world.sandbox.fault("release", "status", moment="before", nth=1, body={"error": f"bad key {world.key}"})
    world.job("secretive", world.fund())
    world.finish("secretive")
    world.await_phase("secretive", "Settled", "NeedsReview")
    token = yaml.safe_load(world.kubeconfig.read_text())["users"][0]["user"]["token"]
    events = json.dumps([event.to_dict() for event in world.client.list(Event)], default=str)
    everywhere = operator.log() + operator.metrics() + json.dumps(world.escrows()) + events
    assert len(token) > 100
    for secret in (world.key, token):
        assert secret not in everywhere


def test_a_rotated_key_is_used_without_a_restart(world, tmp_path):
    file = tmp_path / "api-key"
    file.write_text(world.key)
    world.operator(**{Env.API_KEY: "", Env.API_KEY_FILE: str(file)})
    first = world.fund(token="by-hand-rot1")
    world.job("before", first)
    world.finish("before")
    world.await_phase("before", "Settled")
    renewed = world.sandbox.issue_key("payer-agent")
    scratch = tmp_path / "next"
    scratch.write_text(renewed)
    scratch.replace(file)
    world.sandbox.revoke_key(world.key)
    world.key = renewed
    second = world.fund(token="by-hand-rot2")
    world.job("after", second)
    world.finish("after")
    assert world.await_phase("after", "Settled")["status"]["outcome"] == "Paid"


def test_sigterm_ends_it_while_it_is_still_being_loaded(world):
    """A container's first process ignores a signal that it has no handler for."""
    operator = world.operator(wait=False, anew=True)
    status = Path(f"/proc/{operator.process.pid}/status")

    def handled() -> int:
        caught = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        return int(caught, 16) >> (signal.SIGTERM - 1) & 1

    eventually(handled, "SIGTERM has a handler")
    assert operator.stop() == 0
    assert "Traceback" not in operator.log()
    assert "serving" not in operator.log(), "it had not even begun"


def test_sigterm_ends_it_cleanly_even_before_it_leads(world):
    leader = world.operator(**{Env.LEADER_ELECTION: "true", Env.POD_NAME: "leader"})
    waiting = world.operator(**{Env.LEADER_ELECTION: "true", Env.POD_NAME: "waiting"})
    world.job("held", world.fund())
    world.await_phase("held", "Funded")
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.process.wait(20) == 0
    assert leader.stop() == 0
