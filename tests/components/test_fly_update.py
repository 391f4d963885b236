"""A fly.toml of the user's own, updated in place."""

import tomllib

import pytest

from components import fly_update
from components.errors import BadInput
from components.manifests.fly_config import fly_toml
from components.settings import Settings

OURS = fly_toml(Settings())
THEIRS = """\
# my app
app = "my-pf-agent"   # the name
primary_region = "fra" # was near me

[build]
  image = "mine:1" # my own

[env]
  MINE = "1" # stays
  ESCROW_FEE = "0.5"  # will be set

[[mounts]]
source = "agent_data" # with my ledger
destination = "/data"
processes = ["app"]

[[services]]
internal_port = 9999 # another service of mine

[[services]]
  internal_port = 8080
  protocol = "tcp"
  my_key = 1
  [[services.ports]]
    port = 443
    handlers = ["tls"]
  [services.concurrency]
    type = "connections" # mine

[statics]
guest_path = "/x"
"""


def test_settings_are_set_and_all_else_stays():
    after = fly_update.updated(THEIRS, OURS)
    for kept in (
        "# my app",
        "# the name",
        "# was near me",
        'image = "mine:1" # my own',
        'MINE = "1" # stays',
        "# mine",
        "# with my ledger",
    ):
        assert kept in after
    found, ours = tomllib.loads(after), tomllib.loads(OURS)
    assert found["primary_region"] == "iad"
    assert found["build"] == {"image": "mine:1"}
    assert found["env"] == ours["env"] | {"MINE": "1"}
    assert found["statics"] == {"guest_path": "/x"}
    assert found["mounts"] == [ours["mounts"] | {"processes": ["app"]}]
    mine, served = found["services"]
    assert mine == {"internal_port": 9999}
    assert served["ports"] == ours["services"][0]["ports"]
    assert served == ours["services"][0] | {"my_key": 1}
    assert fly_update.updated(after, OURS) == after, "a second time changes nothing"


def test_an_empty_file_gets_all_but_the_build():
    found = tomllib.loads(fly_update.updated("", OURS))
    assert found == {key: value for key, value in tomllib.loads(OURS).items() if key != "build"}


# What flyctl itself writes and has written for an app: these are the shapes of files in the wild.
LAUNCHED = """\
app = 'my-pf-agent'   # by fly launch
[build]

[http_service]
  internal_port = 3000 # mine
  force_https = true
  auto_stop_machines = true
  processes = ['app']

[[vm]]
  size = 'shared-cpu-2x'
  memory = '1gb'
  memory_mb = 1024
"""
YEARS_AGO = """\
app = ""
kill_timeout = 5
processes = []

[[services]]
  http_checks = []
  internal_port = 8080
  protocol = "tcp"
  script_checks = []
  [[services.ports]]
    port = 80
    handlers = ["http"]
"""
GROUPS = """\
app = "my-pf-agent"
[processes]
worker = "python worker.py"
app = "python -m runtime.agent"

[[vm]]
memory = "2gb"
processes = ["worker"]
"""
INLINE = """\
services = [{internal_port = 8080, http_checks = [], ports = [{port = 80, handlers = ['http']}]}]
vm = {memory = 512}
"""


def test_http_service_says_what_our_service_says():
    after = fly_update.updated(LAUNCHED, OURS)
    found, [ours] = tomllib.loads(after), tomllib.loads(OURS)["services"]
    assert "services" not in found
    same = ("internal_port", "auto_stop_machines", "min_machines_running", "concurrency")
    assert {key: found["http_service"][key] for key in same} == {key: ours[key] for key in same}
    assert found["http_service"]["checks"] == ours["http_checks"]
    assert found["http_service"]["processes"] == ["app"]
    assert found["vm"] == tomllib.loads(OURS)["vm"], "flyctl takes memory_mb where it finds both"
    assert "# by fly launch" in after
    assert fly_update.updated(after, OURS) == after


@pytest.mark.parametrize("text", [YEARS_AGO, INLINE, YEARS_AGO.replace("\n", "\r\n")])
def test_older_and_other_forms_come_to_the_same(text):
    after = fly_update.updated(text, OURS)
    found, ours = tomllib.loads(after), tomllib.loads(OURS)
    [service] = found["services"]
    assert service.items() >= (ours["services"][0] | {"ports": service["ports"]}).items()
    assert sorted(each["port"] for each in service["ports"]) == [80, 443]
    assert found["app"] == ours["app"]
    assert found["vm"] in (ours["vm"], ours["vm"][0])
    assert after.count("\r\n") in (0, after.count("\n")), "line ends are as they were"
    assert fly_update.updated(after, OURS) == after


def test_what_is_ours_is_for_our_process_group_and_the_others_stay():
    found, ours = tomllib.loads(fly_update.updated(GROUPS, OURS)), tomllib.loads(OURS)
    for table in (found["services"][0], found["mounts"], found["metrics"]):
        assert table["processes"] == ["app"]
    worker, agent = found["vm"]
    assert worker == {"memory": "2gb", "processes": ["worker"]}
    assert agent == ours["vm"][0] | {"processes": ["app"]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("app = ", "not TOML"),
        ('app = "other"', "app 'other'"),
        ("[mount]\nsource = 'a'", "mounts"),
        ("[mounts]\nsource = 'a'\ndestination = '/var/lib/mine'", "/var/lib/mine"),
        ("[mounts]\nsource = 'old'\ndestination = '/data'", "fly.volume.name to 'old'"),
        ("[processes]\nweb = 'x'\ntask = 'y'", "web, task"),
        ("[[processes]]\nname = 'x'", "processes"),
        ("[[mounts]]\nsource = 'a'\n[[mounts]]\nsource = 'b'", "mounts"),
        ("services = 1", "services"),
        ("env = 1", "env"),
    ],
)
def test_what_cannot_go_together_is_refused(text, why):
    with pytest.raises(BadInput, match=why):
        fly_update.updated(text, OURS)


def test_the_command_shows_then_writes(tmp_path, capsys):
    file = tmp_path / "fly.toml"
    file.write_text(THEIRS)
    assert fly_update.main([str(file), "--check"]) == 1
    assert "+  ESCROW_FEE" in capsys.readouterr().out
    assert file.read_text() == THEIRS
    assert fly_update.main([str(file)]) == 0
    assert fly_update.main([str(file), "--check"]) == 0
    assert [*tmp_path.iterdir()] == [file]
    assert fly_update.main([str(tmp_path / "none.toml")]) == 2
