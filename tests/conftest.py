"""Fixtures live beside what they start; each such module is named here."""

import signal

from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# A shell's background job ignores SIGINT, and so would every program that it starts: those that tests interrupt too.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins: list[str] = [
    "tests.runtime.sandbox.fixtures",
    "tests.toolchain.fixtures",
    "tests.e2e.checklist",
    "tests.engine_provider.fixtures",
]
