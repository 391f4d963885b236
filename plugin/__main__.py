"""Serves the components to programs in other Pulumi languages.

It has a folder of its own because Pulumi runs a plugin's `__main__.py`, and the project's is the program.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pulumi.provider.experimental import component_provider_host

from components.package import COMPONENTS, NAME
from runtime.contract import VERSION

if __name__ == "__main__":
    component_provider_host(COMPONENTS, NAME, version=VERSION)
