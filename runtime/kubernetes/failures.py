"""What ends a program that cannot work with its API server: in words for people, with the contract's exit code."""

from collections.abc import Generator
from contextlib import contextmanager

from runtime.contract import ExitCode
from runtime.kubernetes.errors import ApiUnreachable, Forbidden, KubernetesError, LoginError, ObjectNotFound
from runtime.service import Failure


@contextmanager
def explained() -> Generator[None]:
    """Turn errors into exit codes: 2 where a restart cannot help, 1 where it may."""
    try:
        yield
    except ObjectNotFound as error:
        words = "Is the Escrow CRD installed, and does the namespace exist? Apply the stack's manifests first."
        raise Failure(f"{error}\n{words}", ExitCode.BAD_INPUT) from error
    except Forbidden as error:
        words = "Its Role lacks this right; docs/rbac.md lists all that it needs."
        raise Failure(f"{error}\n{words}", ExitCode.BAD_INPUT) from error
    except LoginError as error:
        raise Failure(str(error), ExitCode.BAD_INPUT) from error
    except (ApiUnreachable, KubernetesError) as error:
        raise Failure(str(error)) from error
