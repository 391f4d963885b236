"""Not collected: a run of its own, which `test_endings.py` lets end in every way there is."""

import json
import os
import signal
from pathlib import Path

from lightkube.resources.core_v1 import Pod

from tests.toolchain import pods


def test_run(own_node, namespace):
    template = pods.template(pods.container("main", "busybox sleep 1000"))
    template.metadata.name = "sleeper"
    namespace.client.create(Pod(metadata=template.metadata, spec=template.spec))
    namespace.client.wait(Pod, "sleeper", for_conditions=["Ready"])
    part = Path(os.environ["ENDING_REPORT"] + ".part")
    part.write_text(json.dumps({"name": own_node.name, "address": own_node.host_address}))
    part.rename(os.environ["ENDING_REPORT"])
    if os.environ["ENDING"] == "wait":
        signal.pause()
    assert os.environ["ENDING"] == "success", "this run is meant to fail"
