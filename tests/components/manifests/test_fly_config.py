"""fly.toml as flyctl reads it: flyctl ignores what it does not know, so the keys themselves are held here."""

import json
import re
import subprocess
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.manifests.fly_config import PROJECT, fly_files
from components.settings import Settings
from components.settings.fly import FlySettings, Machine, fly_problems
from runtime.agent.settings import Settings as AgentSettings
from runtime.contract import command
from runtime.environment import read

KNOWN = {
    "": {"app", "primary_region", "kill_signal", "kill_timeout", "build", "deploy", "env", "mounts", "services", "vm"}
    | {"metrics"},
    "build": {"dockerfile", "build-target", "args"},
    "deploy": {"strategy"},
    "mounts": {"source", "destination", "initial_size", "snapshot_retention"},
    "services": {"internal_port", "protocol", "auto_stop_machines", "auto_start_machines", "min_machines_running"}
    | {"concurrency", "ports", "http_checks"},
    "services.concurrency": {"type", "soft_limit", "hard_limit"},
    "services.ports": {"port", "handlers", "force_https"},
    "services.http_checks": {"interval", "timeout", "grace_period", "method", "path"},
    "vm": {"cpu_kind", "cpus", "memory"},
    "metrics": {"port", "path"},
}
"""Keys of flyctl's configuration that are used here, by table; those under `build.args` and `env` are free."""
DURATIONS = {"kill_timeout", "interval", "timeout", "grace_period"}


def toml(**fly) -> dict:
    return tomllib.loads(fly_files(Settings(fly=FlySettings(**fly)))["fly/fly.toml"])


def tables(value, path: str = ""):
    for table in value if isinstance(value, list) else [value]:
        yield path, table
        for key, child in table.items():
            inside = f"{path}.{key}".lstrip(".")
            if isinstance(child, dict) or (isinstance(child, list) and child and isinstance(child[0], dict)):
                yield from tables(child, inside)


def assert_flyctl_reads_it(config: dict) -> None:
    for path, table in tables(config):
        if path in ("env", "build.args"):
            assert all(type(value) is str for value in table.values())
            continue
        assert set(table) <= KNOWN[path], f"flyctl drops unknown keys of [{path}] without a word"
        for key in DURATIONS & set(table):
            assert re.fullmatch(r"[1-9][0-9]*s", table[key]), "a bare number means ms in one place and ns in another"
    (service,) = config["services"]
    http = next(port for port in service["ports"] if port["port"] == 80)
    assert http["force_https"] is True
    assert service["auto_stop_machines"] in ("off", "stop", "suspend")
    assert config["deploy"]["strategy"] in ("rolling", "immediate")
    assert int(config["kill_timeout"][:-1]) > int(config["env"]["PF_GRACEFUL_SHUTDOWN_SECONDS"])


def test_keys_and_values_are_flyctls():
    assert_flyctl_reads_it(toml())


_SEVERAL = st.builds(
    lambda cpus, workers: {"cpus": cpus, "workers": workers}, st.sampled_from([1, 2]), st.integers(1, 4)
)


@settings(max_examples=25, deadline=None)
@given(
    machine=_SEVERAL,
    memory=st.sampled_from([256, 512, 1024, 2048]),
    interval=st.integers(1, 60),
    kill=st.integers(2, 300),
    auto_stop=st.sampled_from(["off", "stop", "suspend"]),
    regions=st.dictionaries(st.from_regex(r"[a-z]{3}", fullmatch=True), st.integers(0, 5), max_size=5),
    app=st.from_regex(r"[a-z][-a-z0-9]{0,30}[a-z0-9]", fullmatch=True),
)
def test_every_accepted_setting_gives_a_file_that_flyctl_reads(
    machine, memory, interval, kill, auto_stop, regions, app
):
    fly = FlySettings(
        app=app,
        regions={**regions, "iad": 1},
        machine={**machine, "memory_mb": memory},
        check={"interval_seconds": interval, "timeout_seconds": 1},
        shutdown={"kill_timeout_seconds": kill, "graceful_seconds": kill - 1},
        auto_stop=auto_stop,
    )
    if any(fly_problems(fly)):
        return
    files = fly_files(Settings(fly=fly))
    assert_flyctl_reads_it(tomllib.loads(files["fly/fly.toml"]))
    assert (
        f"wanted='iad:1{''.join(f' {r}:{n}' for r, n in sorted(regions.items()) if r != 'iad')}'"
        in files["fly/regions.sh"]
    )


def test_several_workers_share_their_metrics():
    """Each of them opening the metrics port would stop the app."""
    assert "PROMETHEUS_MULTIPROC_DIR" not in toml()["env"]
    assert toml(machine={"workers": 2, "memory_mb": 512})["env"]["PROMETHEUS_MULTIPROC_DIR"] == "/tmp/metrics"


def test_nothing_secret_is_in_the_files():
    files = fly_files(Settings())
    for name in ("PF_API_KEY", "AGENT_WALLET", "REFERRAL_CODE"):
        assert name not in tomllib.loads(files["fly/fly.toml"])["env"]
        assert f"{name}=" not in "".join(files.values())


def test_a_sandbox_stack_does_not_point_machines_into_the_cluster():
    stack = Settings.parse({"sandbox": {"enabled": True}, "services": {"escrowUrl": "http://pf-sandbox:8080"}})
    files = fly_files(stack)
    assert tomllib.loads(files["fly/fly.toml"])["env"]["ESCROW_BASE"] == "https://escrow.purpleflea.com"
    assert "with real money" in files["fly/fly.toml"]


def test_own_service_urls_reach_every_file():
    files = fly_files(Settings.parse({"services": {"escrowUrl": "https://escrow.example"}}))
    assert tomllib.loads(files["fly/fly.toml"])["env"]["ESCROW_BASE"] == "https://escrow.example"
    assert json.loads(files["fly/mcp_config.json"])["mcpServers"]["pf-escrow"]["url"] == "https://escrow.example/mcp"


@pytest.mark.parametrize("section", [{"enabled": False}, {"fly": {"enabled": False}}])
def test_a_stack_without_fly_has_no_files(section):
    assert fly_files(Settings.parse(section)) == {}


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("script", ["fly/secrets.sh", "fly/regions.sh"])
def test_scripts_are_valid_in_both_shells(script, shell):
    subprocess.run([shell, "-n"], input=fly_files(Settings())[script], text=True, check=True)


def test_dockerfile_is_the_projects_own():
    assert fly_files(Settings())["fly/Dockerfile"].partition("\n")[2] == (PROJECT / "Dockerfile").read_text()


def test_dockerfile_names_no_moving_base_and_no_root():
    lines = [line.split() for line in (PROJECT / "Dockerfile").read_text().splitlines() if line[:1].isupper()]
    stages = {line[3] for line in lines if line[0] == "FROM"}
    bases = {line[1] for line in lines if line[0] == "FROM"}
    assert bases - stages == {"${BASE_IMAGE}", "${BUILDER_IMAGE}"}
    assert ["ARG", "BASE_IMAGE=python:3.12-slim"] in lines
    assert [line[1] for line in lines if line[0] == "USER"] == ["10001:10001"]
    assert lines[-1][:2] == ["CMD", '["python",']
    last_build_step = max(index for index, line in enumerate(lines) if line[0] == "RUN")
    assert last_build_step < lines.index(["FROM", "${BASE_IMAGE}", "AS", "programs"]), "the final stages run nothing"


def test_images_start_programs_of_the_contract():
    started = re.findall(r"^CMD (.*)$", (PROJECT / "Dockerfile").read_text(), re.M)
    assert [json.loads(each) for each in started] == [command("agent"), command("operator")]


def test_build_context_is_a_list_of_what_may_enter():
    rules = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    assert "!dist/*/fly/Dockerfile" in rules, "flyctl reads the Dockerfile that fly.toml names through these rules"


def test_the_agent_reads_what_fly_toml_declares(tmp_path):
    """The rendered environment, given to the program's own settings, with the secrets that Fly adds."""
    env = {"PF_PRICE_PER_CHARACTER_USDC": "0.0000025", "OPENAI_BASE_URL": "https://m.example/v1", "OPENAI_MODEL": "m"}
    declared = toml(env=env, machine=Machine(workers=2, memory_mb=512))["env"]
    found = read(AgentSettings, declared | {"PF_API_KEY": "k" * 8, "AGENT_WALLET": "w", "DATA_DIR": str(tmp_path)})
    assert (found.work.model, str(found.billing.price.per_character)) == ("m", "0.0000025")
    assert (found.workers, found.graceful_seconds, str(found.metrics_folder)) == (2, 45, "/tmp/metrics")
    assert (found.port, found.metrics_port) == (8080, 9091)
