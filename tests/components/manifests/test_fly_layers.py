"""Three layers: public agents that hold no key, and an app without a public service that does."""

import subprocess
import tomllib

import pytest

from components.manifests import fly_escrow
from components.manifests.fly_config import fly_files
from components.manifests.fly_deploy import deploy_commands
from components.settings import Settings
from components.settings.fly import FlySettings, fly_problems
from runtime.agent.settings import Settings as AgentSettings
from runtime.agent.sidecar import Settings as EscrowSettings
from runtime.environment import read
from tests.components.manifests import fly_stand_in
from tests.components.manifests.test_fly_config import KNOWN, tables
from tests.components.manifests.test_fly_secrets import run

THREE = Settings.parse({"fly": {"layers": "three", "escrowApp": {"mostUsdc": "0.50", "mostOpenUsdc": "2"}}})
TOKEN = "t" * 32


@pytest.fixture(scope="module")
def files():
    return fly_files(THREE)


def test_one_layer_has_no_escrow_app():
    assert not {*fly_escrow.PURPOSES} & {*fly_files(Settings())}
    assert ".internal" not in fly_files(Settings())["fly/fly.toml"]


def test_the_agents_ask_the_escrow_app_and_nobody_else(files, tmp_path):
    for path in ("fly/fly.toml", "fly/go/fly.toml"):
        declared = tomllib.loads(files[path])["env"]
        assert declared["ESCROW_BASE"] == "http://my-pf-escrow.internal:8080"
    found = read(AgentSettings, declared | {"PF_API_KEY": TOKEN, "AGENT_WALLET": "w", "DATA_DIR": str(tmp_path)})
    assert found.billing.allow_http, "or the agent would refuse the address"
    assert "escrow.purpleflea.com" not in files["fly/fly.toml"]


def test_the_escrow_app_is_private_and_reads_what_is_declared(files, tmp_path):
    config = tomllib.loads(files["fly/escrow/fly.toml"])
    assert not {"services", "http_service"} & {*config}
    assert config["app"] == "my-pf-escrow"
    assert config["processes"] == {"app": "python -m runtime.agent.sidecar"}
    assert config["checks"]["alive"]["port"] == 8080
    assert config["build"]["dockerfile"] == "../Dockerfile"
    secrets = {"PF_API_KEY": "k" * 8, "AGENT_WALLET": "w", "PF_CALLERS": f"my-pf-agent:{TOKEN}"}
    assert not {*secrets} & {*config["env"]}
    found = read(EscrowSettings, config["env"] | secrets | {"DATA_DIR": str(tmp_path)})
    assert (str(found.most), str(found.most_open), found.payments.allow_http) == ("0.50", "2.00", False)


def test_flyctl_knows_every_key_of_it(files):
    known = KNOWN | {
        "": KNOWN[""] - {"services"} | {"processes", "checks"},
        "processes": {"app"},
        "checks": {"alive"},
        "checks.alive": {"type", "port", "path", "interval", "timeout", "grace_period"},
    }
    for path, table in tables(tomllib.loads(files["fly/escrow/fly.toml"])):
        if path not in ("env", "build.args"):
            assert set(table) <= known[path], f"flyctl drops unknown keys of [{path}] without a word"


def test_each_apps_script_sends_each_apps_secrets(files, tmp_path):
    fly_stand_in.install(tmp_path)
    (tmp_path / "secrets.sh").write_text(files["fly/escrow/secrets.sh"])
    secrets = {
        "PF_API_KEY": "pf_live_key",
        "AGENT_WALLET": "0xAgent",
        "PF_CALLERS": f"my-pf-agent:{TOKEN} other:{TOKEN}o",
    }
    done = run(tmp_path / "secrets.sh", **secrets)
    assert done.returncode == 0, done.stderr
    state = fly_stand_in.read(tmp_path)
    assert state["staged"] == secrets
    assert state["calls"][0]["arguments"][-2:] == ["--app", "my-pf-escrow"]
    assert state["calls"][0]["visible"] == []
    assert "PF_CALLERS" not in files["fly/secrets.sh"]
    subprocess.run(["sh", "-n"], input=files["fly/secrets.sh"], text=True, check=True)


def test_the_key_is_there_before_the_agents_are():
    told = deploy_commands(THREE, "dist/dev")
    apps = [next(name for name in ("my-pf-escrow", "my-pf-agent", "dist/dev/fly") if name in line) for line in told]
    assert apps.index("my-pf-agent") == 4
    assert told[3] == "fly deploy . --app my-pf-escrow --config dist/dev/fly/escrow/fly.toml --ha=false"
    assert told[-1].endswith("regions.sh --apply")


@pytest.mark.parametrize(
    ("fly", "path"),
    [
        ({"dialect": "server"}, "layers"),
        ({"escrow_app": {"app": "my-pf-agent"}}, "escrowApp.app"),
        ({"escrow_app": {"most_usdc": 3, "most_open_usdc": 2}}, "escrowApp.mostUsdc"),
        ({"env": {"PF_CALLERS": "x"}}, "env.PF_CALLERS"),
    ],
)
def test_what_cannot_be_is_named(fly, path):
    problems = [str(problem) for problem in fly_problems(FlySettings(layers="three", **fly))]
    assert [text for text in problems if f"purpleflea.fly.{path}" in text], problems
