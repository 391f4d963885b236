"""kubectl as a person runs it, so that what the documents say is what the tests do."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 180


@dataclass(frozen=True)
class Kubectl:
    """Runs kubectl with the administrator's rights in one namespace; `home` takes its cache."""

    program: Path
    kubeconfig: Path
    namespace: str
    home: Path

    def __call__(self, *words: str, stdin: str | None = None, editor: str = "false") -> str:
        """What it prints; a refusal or a wait that is not over in time fails the test with its words."""
        environment = {"PATH": os.environ["PATH"], "HOME": f"{self.home}", "KUBECONFIG": f"{self.kubeconfig}"}
        environment["KUBE_EDITOR"] = editor
        done = subprocess.run(
            [f"{self.program}", "--namespace", self.namespace, *words],
            input=stdin, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, *words: str) -> list[dict[str, Any]]:
        """Objects as JSON."""
        return json.loads(self("get", *words, "--output", "json"))["items"]

    def raw(self, path: str) -> str:
        """An answer of the API server, or of what it is a proxy to."""
        return self("get", "--raw", path)

    def create(self, manifest: dict[str, Any]) -> None:
        """Create one object."""
        self("create", "--filename", "-", stdin=json.dumps(manifest))
