import logging
import os

import pytest

from runtime.credentials import KeySettings
from runtime.environment import read
from runtime.errors import BadInput, Unauthorized
from runtime.payments import Credentials, PaymentsClient
from tests.runtime.payments.scripted_server import Reply


def test_a_file_wins_over_the_variable(tmp_path):
    file = tmp_path / "api-key"
    file.write_text("key-in-file\n")
    assert (
        read(KeySettings, {"PF_API_KEY": "key-in-env", "PF_API_KEY_FILE": str(file)}).credentials.key() == "key-in-file"
    )
    assert read(KeySettings, {"PF_API_KEY": "key-in-env"}).credentials.key() == "key-in-env"


def test_a_swapped_secret_volume_is_noticed(tmp_path):
    """Kubernetes mounts `key -> ..data/key` and swaps `..data` atomically to another directory."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "api-key").write_text(f"key-number-{version}")
        os.utime(tmp_path / version / "api-key", (1, 1))  # the same time and size: only the inode differs
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "api-key").symlink_to("..data/api-key")
    credentials = Credentials(file=tmp_path / "api-key")
    assert credentials.key() == "key-number-1"
    (tmp_path / "..next").symlink_to("2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert credentials.key() == "key-number-2"


def test_a_key_outlives_its_file_for_a_moment(tmp_path):
    file = tmp_path / "api-key"
    file.write_text("key-in-file")
    credentials = Credentials(file=file)
    assert credentials.key() == "key-in-file"
    file.unlink()
    assert credentials.key() == "key-in-file"
    file.write_text("another-key")
    assert credentials.key() == "another-key"


@pytest.mark.anyio
async def test_a_rotated_key_is_sent_from_the_next_request_on(tmp_path, server):
    file = tmp_path / "api-key"
    file.write_text("first-key")
    server.replies(Reply(200, {"escrow_id": "esc_1"}))
    async with PaymentsClient("fly", server.url, Credentials(file=file), allow_http=True) as client:
        await client.cancel("esc_1")
        file.write_text("second-key")
        await client.cancel("esc_1")
    assert [r.headers["authorization"] for r in server.received] == ["Bearer first-key", "Bearer second-key"]


@pytest.mark.parametrize("environment", [{}, {"PF_API_KEY": ""}, {"PF_API_KEY_FILE": "/nonexistent/key"}])
@pytest.mark.anyio
async def test_without_a_key_nothing_is_sent_and_it_says_what_to_set(environment, server):
    credentials = read(KeySettings, environment).credentials
    async with PaymentsClient("fly", server.url, credentials, allow_http=True) as client:
        with pytest.raises(Unauthorized, match="release of escrow esc_1: no API key: set PF_API_KEY"):
            await client.release("esc_1")
    assert server.received == []


@pytest.mark.parametrize("key", ["two\nlines", "with blank", "ümlaut", "nul\0byte", "x" * 5000])
def test_what_cannot_stand_in_a_header_is_refused_unseen(key, tmp_path):
    file = tmp_path / "api-key"
    file.write_text(key)
    with pytest.raises(BadInput) as caught:
        Credentials(file=file).key()
    with pytest.raises(BadInput):
        Credentials(key)
    assert key not in str(caught.value)


def test_an_empty_file_is_refused(tmp_path):
    file = tmp_path / "api-key"
    file.write_text("\n")
    with pytest.raises(BadInput):
        Credentials(file=file).key()


def test_neither_repr_nor_log_shows_a_key(tmp_path, caplog):
    file = tmp_path / "api-key"
    file.write_text("key-that-nobody-sees")
    shown = [Credentials("key-that-nobody-sees"), Credentials(file=file)]
    for credentials in shown:
        logging.getLogger("test").warning("%r %s", credentials, credentials.key())
    assert "key-that-nobody-sees" not in f"{shown!r} {caplog.text}"
