"""How a command for people ends that talks to an API server: with a sentence and an exit code, never a traceback."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from runtime.contract import ExitCode
from runtime.errors import BadInput, PurpleFleaError, Unauthorized
from runtime.kubernetes.errors import ApiUnreachable, KubernetesError, LoginError, MalformedObject
from runtime.service import Failure

T = TypeVar("T")


def run_for_people(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. A mistake and a refusal are exit code 2, an API server out of reach is 1."""
    logging.getLogger("runtime.kubernetes").setLevel(logging.CRITICAL)  # what goes wrong is said below, in one line
    try:
        return asyncio.run(work)
    except (BadInput, Unauthorized):
        raise  # said as every program says them, a line each
    except (PurpleFleaError, LoginError, MalformedObject) as error:
        raise Failure(str(error), ExitCode.BAD_INPUT) from error
    except KubernetesError as error:
        raise Failure(f"the API server refused: {error.message}", ExitCode.BAD_INPUT) from error
    except ApiUnreachable as error:
        raise Failure(f"the API server cannot be reached: {error}") from error
