"""fly.backup: the image with Litestream, what it is told, and whose secrets it needs."""

import tomllib

import pytest

from components.manifests.fly_backup import LITESTREAM
from components.manifests.fly_config import fly_files
from components.settings import Settings
from runtime.agent.backed_up import Settings as BackedUp
from runtime.environment import read


@pytest.fixture(scope="module", params=["one", "three"])
def files(request):
    return fly_files(Settings.parse({"fly": {"layers": request.param, "backup": "s3://ledgers/production"}}))


def test_the_image_has_the_pinned_program_and_starts_by_it(files):
    lines = files["fly/Dockerfile"].splitlines()
    assert f"RUN echo '{LITESTREAM}' > /tmp/litestream.txt \\" in lines
    stages = [line.split()[1::2] for line in lines if line.startswith("FROM ")]
    assert stages[-1] == ["fly", "backed-up"]
    assert lines[-1] == 'CMD ["python", "-m", "runtime.agent.backed_up"]'
    assert tomllib.loads(files["fly/fly.toml"])["build"]["build-target"] == "backed-up"
    assert "litestream" not in fly_files(Settings())["fly/Dockerfile"]


def test_the_program_reads_what_is_declared(files, tmp_path):
    found = read(
        BackedUp, tomllib.loads(files["fly/fly.toml"])["env"] | {"AGENT_WALLET": "w", "DATA_DIR": str(tmp_path)}
    )
    assert found.url == "s3://ledgers/production"
    assert "required='PF_API_KEY AGENT_WALLET AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY'" in files["fly/secrets.sh"]


def test_the_agent_in_go_is_not_told_of_a_copy_that_nobody_makes(files):
    assert "PF_BACKUP_URL" not in tomllib.loads(files["fly/go/fly.toml"])["env"]
    assert "# No fly.backup: this image has no Litestream" in files["fly/go/fly.toml"]


def test_the_escrow_apps_ledger_is_copied_too(files):
    if "fly/escrow/fly.toml" in files:
        escrow = tomllib.loads(files["fly/escrow/fly.toml"])
        assert escrow["processes"] == {"app": "python -m runtime.agent.backed_up --escrow-app"}
        assert escrow["env"]["PF_BACKUP_URL"] == "s3://ledgers/production"
        assert "AWS_SECRET_ACCESS_KEY" in files["fly/escrow/secrets.sh"]
