"""The README's example, run as it stands there."""

import re
import textwrap
from pathlib import Path

import pytest

from tests.runtime.payments.conftest import KEY
from tests.runtime.payments.scripted_server import Reply
from tests.runtime.payments.test_creation import MemoryJournal

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.anyio
async def test_the_example_pays(server, monkeypatch):
    example = re.search(r"## Paying from Python\n\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert example
    settings = {"PF_ESCROW_URL": server.url, "PF_API_KEY": KEY, "PF_ALLOW_HTTP": "true", "PF_API_DIALECT": "kubernetes"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    server.replies(Reply(201, {"escrow_id": "esc_1"}), Reply(200, {"amount_released": 0.099}))
    names = {"journal": MemoryJournal(), "job_uid": "uid-1"}
    exec("async def example():\n" + textwrap.indent(example[1], "    "), names)
    await names["example"]()
    assert [r.target for r in server.received] == ["/api/escrow", "/api/escrow/esc_1/release"]
