"""`world`, as payroll's tests have it."""

from tests.runtime.payroll.conftest import world

__all__ = ["world"]
