"""A real S3 server on a folder: Versity's gateway, whose objects are files."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.toolchain.waiting import until

BUCKET = "archive"
_KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester-secret", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server(program: Path, folder: Path) -> Iterator[dict[str, str]]:
    """It runs for the block; the environment that its clients need."""
    (folder / BUCKET).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    keys = {"ROOT_ACCESS_KEY": _KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": _KEYS["AWS_SECRET_ACCESS_KEY"]}
    command = [program, "--port", address, "--quiet", "posix", "--sidecar", folder.with_name("sidecar"), folder]
    folder.with_name("sidecar").mkdir()
    process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **keys}, stdout=subprocess.DEVNULL)
    environment = {**_KEYS, "AWS_ENDPOINT_URL": f"http://{address}", "AWS_ALLOW_HTTP": "true"}
    try:
        until("the S3 server answers", lambda: _answers(address))
        yield environment
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    host, port = address.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False
