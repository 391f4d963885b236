"""The two levels of a test cluster: each is a module with `PROGRAMS`, `demand`, `boot` and `clean`."""

from tests.toolchain import control_plane, node

LEVELS = {"controlplane": control_plane, "node": node}
