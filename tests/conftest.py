"""Fixtures live beside what they start; each such module is named here."""

pytest_plugins: list[str] = [
    "tests.runtime.sandbox.fixtures",
    "tests.toolchain.fixtures",
]
