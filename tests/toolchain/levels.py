"""The two levels of a test cluster: each is a module with `PROGRAMS`, `boot` and `clean`."""

from tests.toolchain import control_plane

LEVELS = {"controlplane": control_plane}
