"""Proxies and certificates of the environment: a wrong one is a named setting, for whichever client is built."""

import asyncio
import os
import ssl
import subprocess
import sys

import pytest

from runtime.contract import ExitCode
from runtime.errors import BadInput
from runtime.network import VARIABLES
from runtime.payments import Credentials, PaymentsClient
from runtime.payments.busy_http import BusyHttp
from runtime.redaction import redact

PASSWORD = "proxy-password-81"
WRONG = {
    "SOCKS without its package": ("ALL_PROXY", "socks5://proxy.example:1080", "socksio"),
    "SOCKS with a remote resolver": ("HTTPS_PROXY", f"socks5h://me:{PASSWORD}@proxy.example", "socksio"),
    "another scheme": ("HTTPS_PROXY", f"ftp://me:{PASSWORD}@proxy.example", "the scheme 'ftp'"),
    "no host": ("HTTPS_PROXY", "http://", "no URL"),
    "half an IPv6 address": ("HTTPS_PROXY", f"http://me:{PASSWORD}@[::1", "no URL"),
    "a port that is a word": ("http_proxy", "proxy.example:port", "no URL"),
    "a port beyond the last": ("HTTPS_PROXY", "http://proxy.example:99999", "no URL"),
    "a blank": ("HTTPS_PROXY", "http://proxy example", "no URL"),
    "IPv6 in brackets": ("NO_PROXY", "localhost,[::1],.svc", "without brackets"),
    "IPv6 in brackets with a port": ("no_proxy", "[fd00::1]:8080", "without brackets"),
    "IPv6 with a length": ("NO_PROXY", "fd00::/8", "without brackets"),
    "no such file": ("SSL_CERT_FILE", "/nonexistent/ca.pem", "No such file"),
    "a file without a certificate": ("SSL_CERT_FILE", os.devnull, "no certificate"),
    "a folder for a file": ("SSL_CERT_FILE", "/", "directory"),
    "a folder that is not there": ("SSL_CERT_DIR", "/nonexistent", "no folder"),
}
RIGHT = [
    ("HTTPS_PROXY", "http://proxy.example:3128"),
    ("HTTPS_PROXY", "proxy.example:3128"),
    ("ALL_PROXY", "https://me:proxy-pw@[2001:db8::1]:3128/"),
    ("NO_PROXY", "*"),
    ("NO_PROXY", "localhost, 10.0.0.0/8 ,::1,.cluster.local"),
    ("NO_PROXY", ""),
    ("SSL_CERT_FILE", ""),
    ("SSL_CERT_DIR", "/"),
]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def make(http=None, **changes):
    return PaymentsClient("server", "https://escrow.example", Credentials("some-key"), http=http, **changes)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_one_is_named_and_its_password_is_not(case, monkeypatch):
    name, value, said = WRONG[case]
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as caught:
        make()
    assert name.upper() in str(caught.value)
    assert said in str(caught.value)
    assert PASSWORD not in str(caught.value)
    if PASSWORD in value:
        assert redact(PASSWORD) == "[redacted]"


@pytest.mark.parametrize("case", [case for case in WRONG if WRONG[case][0].startswith("SSL")])
def test_the_other_client_names_its_certificates_too(case, monkeypatch):
    name, value, said = WRONG[case]
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=name) as caught:
        make(BusyHttp)
    assert said in str(caught.value)


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_a_right_one_is_used(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    asyncio.run(make().close())


def test_beside_a_sandbox_none_is_read(monkeypatch):
    for name, value, _ in WRONG.values():
        monkeypatch.setenv(name, value)
    client = PaymentsClient("server", "http://127.0.0.1:1", Credentials("some-key"), allow_http=True)
    asyncio.run(client.close())


def test_the_file_is_the_trust_store(monkeypatch, tmp_path):
    """A store of one certificate, and no longer the public ones."""
    one = tmp_path / "ca.pem"
    one.write_text(ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0]))
    monkeypatch.setenv("SSL_CERT_FILE", str(one))
    seen = []

    class Sender(BusyHttp):
        def __init__(self, tls, timeouts, limits):
            seen.append(len(tls.get_ca_certs()))
            super().__init__(tls, timeouts, limits)

    make(Sender)
    assert seen == [1, 1]


def test_a_program_ends_with_the_setting_and_no_traceback(tmp_path):
    environment = {
        "PATH": os.environ["PATH"], "AGENT_ID": "ag_1", "PF_FAUCET_URL": "https://faucet.example",
        "WORKSPACE": str(tmp_path), "HTTPS_PROXY": "socks5://proxy.example",
    }  # fmt: skip
    command = [sys.executable, "-m", "runtime.faucet_claim"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == ExitCode.BAD_INPUT
    assert "HTTPS_PROXY names a SOCKS proxy" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_httpx_is_loaded_only_by_those_who_send_with_it():
    source = "import sys, runtime.payments.busy_http, runtime.payments.settings; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], timeout=60, check=False).returncode == 0
