"""An image without a container engine: its root file system on this machine's disk, and its command alone in there."""

import json
import tarfile
from pathlib import Path
from typing import Any


def unpack(archive: Path, root: Path) -> dict[str, Any]:
    """Write its layers there, one over the other; returns its configuration."""
    with tarfile.open(archive) as image:
        [manifest] = json.load(image.extractfile("manifest.json"))
        config = json.load(image.extractfile(manifest["Config"]))["config"]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as content:
                content.extractall(root, filter="tar")
    root.chmod(0o755)  # a temporary folder is its maker's alone
    return config


def command(root: Path, config: dict[str, Any]) -> list[str]:
    """Starts it as its user, who sees nothing but its file system."""
    return ["chroot", f"--userspec={config['User']}", str(root), *config["Cmd"]]
