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
source = "old_data"
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


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("app = ", "not TOML"),
        ('app = "other"', "app 'other'"),
        ("[http_service]\ninternal_port = 8080", "http_service"),
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
