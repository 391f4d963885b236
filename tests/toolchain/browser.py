"""A real Chromium for pages: from Debian, driven by Playwright, which brings none along."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.toolchain import debian

PACKAGES = ("chromium", "fonts-dejavu-core")


@contextmanager
def browser() -> Iterator[Browser]:
    """One that reaches no network; `Missing` says why it cannot be had."""
    tree = debian.programs(*PACKAGES).parent / "tree"
    libraries = sorted({f"{file.parent}" for file in tree.rglob("*.so*")})
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=tree / "usr/lib/chromium/chromium",
            env={"LD_LIBRARY_PATH": ":".join(libraries), "PATH": os.environ["PATH"], "HOME": f"{Path.home()}"},
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"],
        )
        try:
            yield started
        finally:
            started.close()
