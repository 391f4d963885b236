"""The Python agent's image, built from the project's Dockerfile and run as it says: alone in its root file system."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conformance import __main__ as command
from tests.conformance import unpacked
from tests.conformance.world import world
from tests.toolchain import images
from tests.toolchain.tools import Missing

pytestmark = pytest.mark.xdist_group("image")


def test_it_serves_and_bills_alone_in_its_file_system_by_uvloop(tmp_path, capsys):
    try:
        image = images.runtime_image(target="fly")
    except Missing as error:
        pytest.skip(f"the Python agent's image cannot be built: {error}")
    root = tmp_path / "root"
    config = unpacked.unpack(image.archive, root)
    assert (config["User"], config["Cmd"]) == ("10001:10001", ["python", "-m", "runtime.agent"])
    assert {*config["ExposedPorts"]} == {"8080/tcp", "9091/tcp"}
    with world(unpacked.command(root, config), root / "data") as agent:
        shutil.chown(agent.folder, *map(int, config["User"].split(":")))
        agent.environment |= {**dict(line.split("=", 1) for line in config["Env"]), "DATA_DIR": "/data"}
        agent.start()
        libraries = Path(f"/proc/{agent.process.pid}/maps").read_text()
        assert "/app/lib/uvloop/loop." in libraries
        assert command.main([str(agent.http.base_url)]) == 0, capsys.readouterr().out
        assert agent.stop() == 0
        with closing(sqlite3.connect(agent.folder / "ledger.db")) as ledger:
            assert {*ledger.execute("SELECT state, count(*) > 3 FROM escrows GROUP BY state")} == {("released", True)}
        agent.balanced()
