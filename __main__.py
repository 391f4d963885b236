"""The stack: settings in, components in order, outputs out.

`pulumi preview`, `pulumi up`, `make preview` and `make up` all run this file.
"""

import signal

import pulumi

from components import stack_config
from components.artifact import ArtifactFolder, removal
from components.manifests.encryption import encryption_files
from components.manifests.fly_config import fly_files
from components.outputs import stack_outputs
from components.synth import rendering

# When a resource fails, the engine interrupts the program: Python's traceback of that would bury what failed, and why.
if __name__ == "__main__":  # by Pulumi's own host; `make up` runs this file under another name
    signal.signal(signal.SIGINT, signal.SIG_DFL)

folder = f"dist/{pulumi.get_stack()}"
gone = pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_delete=[removal(folder)]))
config = stack_config.read()
settings = config.settings

if settings.target == "artifacts":
    files = rendering.render(config.values, config.folder)
else:
    files = {**fly_files(settings), **encryption_files(settings)}
    if settings.enabled:
        from components import cluster  # here, because its import takes seconds that files do not need

        cluster.declare(config)

# Declared even where there is nothing to write: what a stack no longer has is removed from its folder.
ArtifactFolder("dist", {"folder": folder, "files": files}, gone)
for output, value in stack_outputs(settings, folder).items():
    pulumi.export(output, value)
