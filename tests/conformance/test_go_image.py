"""The Go agent's Dockerfile, built for real and run as it says: alone in its root file system, as its user.

buildah builds it without a network: a shell stands in for the base image, and Go, its modules and what they compile to
are mounted from this machine.
"""

import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from components.manifests.fly_go import go_files
from tests.conformance import __main__ as command
from tests.conformance import go_agent, unpacked
from tests.conformance.world import world
from tests.toolchain import base_image, buildah, cache
from tests.toolchain.tools import Missing

TAG = "localhost/fly-agent-go:test"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

pytestmark = pytest.mark.xdist_group("image")


def go(name):
    return subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip()


def base(store, folder):
    """The tag of what stands for `golang`: a shell, and where to find what is mounted."""
    tag, _ = base_image.ensure(store, base_image.context())
    folder.mkdir()
    variables = "PATH=/usr/local/go/bin:$PATH GOPROXY=file:///modules GOFLAGS=-modcacherw GOCACHE=/built HOME=/root"
    (folder / "Dockerfile").write_text(f"FROM {tag}\nENV {variables}\n")
    store.build(folder, f"{TAG}-base")
    return f"{TAG}-base"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Its archive."""
    folder = tmp_path_factory.mktemp("image")
    try:
        go_agent.build()  # which fetches the modules, and compiles what does not change
        mounts = {
            go("GOROOT"): "/usr/local/go:ro",
            f"{go('GOMODCACHE')}/cache/download": "/modules:ro",
            go("GOCACHE"): "/built",
            CERTIFICATES: f"{CERTIFICATES}:ro",
        }
        volumes = [part for host, inside in mounts.items() for part in ("--volume", f"{host}:{inside}")]
        context = go_agent.write(go_files(), folder / "context")
        with buildah.session() as store:
            cache.say("building the Go agent's image: about 15 s")
            store.build(context, TAG, "--build-arg", f"GO_IMAGE={base(store, folder / 'base')}", *volumes)
            store.export(TAG, folder / "image.tar")
    except Missing as error:
        pytest.skip(f"the Go agent's image cannot be built: {error}")
    return folder / "image.tar"


@pytest.fixture(scope="module")
def root_and_config(image, tmp_path_factory):
    """Its root file system and its configuration."""
    root = tmp_path_factory.mktemp("root")
    return root, unpacked.unpack(image, root)


def test_it_holds_the_agent_the_certificates_and_nothing_else(root_and_config):
    root, config = root_and_config
    files = {f"/{path.relative_to(root)}": path for path in root.rglob("*") if path.is_file()}
    assert {*files} == {"/agent", CERTIFICATES}
    assert files[CERTIFICATES].stat().st_size > 100_000
    assert b"/ld-linux" not in files["/agent"].read_bytes(), "it has no libraries"
    assert (config["User"], config["Cmd"], config["StopSignal"]) == ("10001:10001", ["/agent"], "SIGTERM")
    assert {*config["ExposedPorts"]} == {"8080/tcp", "9091/tcp"}
    data = (root / "data").stat()
    assert f"{data.st_uid}:{data.st_gid}" == config["User"]


def test_it_serves_and_bills_alone_in_its_file_system(root_and_config, tmp_path, capsys):
    root, config = root_and_config
    shutil.copytree(root, tmp_path / "root")
    with world(unpacked.command(tmp_path / "root", config), tmp_path / "root" / "data") as agent:
        shutil.chown(agent.folder, *map(int, config["User"].split(":")))
        agent.environment["DATA_DIR"] = "/data"
        agent.start()
        assert command.main([str(agent.http.base_url)]) == 0, capsys.readouterr().out
        with closing(sqlite3.connect(agent.folder / "ledger.db")) as ledger, ledger:
            ledger.execute(MANY)  # more than SQLite sorts without a file for it, and there is no /tmp
        assert agent.http.get("/earnings").json()["regions"]["far"]["released"]["escrows"] == ROWS
        assert agent.stop() == 0
        agent.balanced()


ROWS = 80_000
MANY = f"""
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
INSERT INTO escrows (id, slot, fingerprint, payer, payee, amount_micro, region, machine, state, escrow_id, sent_ms,
                     intent, created_ms, settled_ms)
SELECT 'many-' || i, 0, '', '', '', 1, 'far', 'm', 'released', 'many-' || i, 0, 'release', 0, 0 FROM n
"""
