"""The Fly guide's listings, path by path, against what a default stack renders."""

import json
import re
import shlex
import tomllib
from pathlib import Path

from components.manifests.fly_config import fly_files
from components.settings import Settings
from tests.guides.parity import differences, leaves, unexplained

LISTINGS = Path(__file__).parent / "fly"
DIFFERENCES = {
    "services[0].ports[1].force_https.enabled": "flyctl loads no such table; ours is `force_https = true` in the port",
}
"""Path in the guide's fly.toml → why ours differs."""


def listing(name: str) -> str:
    return (LISTINGS / name).read_text()


def ours(name: str) -> str:
    return fly_files(Settings())[f"fly/{name}"]


def test_every_path_of_fly_toml_is_ours_or_differs_for_a_reason():
    guide, rendered = tomllib.loads(listing("fly.toml")), tomllib.loads(ours("fly.toml"))
    assert len(leaves(guide)) > 20
    assert unexplained(differences(guide, rendered), DIFFERENCES) == []
    assert rendered["services"][0]["ports"][1]["force_https"] is True


def test_mcp_config_is_the_guides():
    assert json.loads(ours("mcp_config.json")) == json.loads(listing("mcp_config.json"))


def test_secrets_are_the_guides_but_never_arguments():
    names = re.findall(r"^([A-Z_]+)=", listing("secrets-and-regions.sh"), re.M)
    assert names == ["PF_API_KEY", "AGENT_WALLET", "REFERRAL_CODE"]
    script = ours("secrets.sh")
    assert f"required='{' '.join(names[:2])}'\noptional={names[2]}\n" in script
    assert "fly secrets set" not in script
    assert "fly secrets import --stage" in script


def test_regions_are_the_guides_and_the_primary_one():
    """The guide's deploy makes one Machine in its primary region besides those it scales to."""
    scaled = re.findall(r"^fly scale count (\d+) --region (\w+)", listing("secrets-and-regions.sh"), re.M)
    wanted = next(line for line in ours("regions.sh").splitlines() if line.startswith("wanted="))
    assert shlex.split(wanted) == ["wanted=" + " ".join(["iad:1", *(f"{region}:{count}" for count, region in scaled)])]


def test_dockerfile_keeps_the_guides_base_stages_port_and_data_folder():
    """Ours installs hash-checked requirements, runs as nobody's root, and starts one worker by `python -m`."""
    guide, rendered = listing("Dockerfile"), ours("Dockerfile")
    base = re.search(r"^FROM (\S+) AS builder", guide, re.M)[1]
    assert f"ARG BASE_IMAGE={base}\n" in rendered
    assert "AS builder\n" in rendered
    port = re.search(r"^EXPOSE (\d+)", guide, re.M)[1]
    assert re.search(rf"^EXPOSE {port}\b", rendered, re.M)
    assert "mkdir -p /data" in guide
    assert re.search(r"^COPY .* /data$", rendered, re.M)
