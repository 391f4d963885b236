"""`python -m runtime.agent_worker`: does the tasks that wait for its wallet; with `--once` the one of a Job."""

import argparse
import logging
import socket
import sys

from runtime.agent_worker.settings import Settings
from runtime.contract import RUN_ONCE, WORK_LOG_AUDIENCE, Env, ExitCode, Port
from runtime.errors import BadInput
from runtime.redaction import excerpt
from runtime.service import Program, Start

SERVE_LOG = "--serve-log"
_log = logging.getLogger("runtime.agent_worker")


async def run(start: Start[Settings]) -> int | None:
    """Do what the arguments say."""
    return await (_once(start) if start.arguments.once else _serve(start))


async def _once(start: Start[Settings]) -> int:
    """Do the task of a Job; its exit code is the task's. Asked to stop, it ends it and exits with 130."""
    import asyncio

    from runtime.agent_worker.doing import Task, do
    from runtime.service import Failure
    from runtime.work_log import LogFull, WorkLog

    settings, log = start.settings.task, WorkLog(start.settings.task.work_log)
    try:
        running = log.begin(socket.gethostname())
        doing = asyncio.create_task(do(Task(running.task), settings))
        stopping = asyncio.create_task(start.stop.wait())
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)
            return ExitCode.INTERRUPTED
        result = doing.result()
        running.outcome, running.evidence, running.note = result.outcome, result.evidence, result.problem
        log.end(running)
    except LogFull as error:
        raise Failure(str(error)) from None
    words = excerpt(result.output.decode(errors="replace").strip(), 2000)
    if result.problem:
        _log.error("failed: %s: %s", settings.description, result.problem)
    else:
        _log.info("done: %s: %s", settings.description, words, extra={"evidence": result.evidence})
    return result.code or (ExitCode.FAILED if result.problem else ExitCode.OK)


async def _serve(start: Start[Settings]) -> None:
    """Take tasks and serve the log until asked to stop; with `--serve-log` serve it alone."""
    from prometheus_client import CollectorRegistry

    from runtime.agent_worker.pages import WorkerPages
    from runtime.agent_worker.queue import HandedQueue, ListedQueue, Queue, Queues
    from runtime.agent_worker.worker import Worker
    from runtime.kubernetes.client import KubernetesApi
    from runtime.kubernetes.escrow_objects import EscrowObjects
    from runtime.kubernetes.task_claims import TaskClaims
    from runtime.kubernetes.token_review import TokenReviews
    from runtime.payments import Operation
    from runtime.service.probes import well
    from runtime.work_log import WorkLog

    settings, log = start.settings.queue, WorkLog(start.settings.task.work_log)
    wallet, alone = settings.wallet, start.arguments.serve_log
    if not (wallet or alone):
        raise BadInput(f"{Env.WORKER_WALLET} is not set: expected the wallet whose escrows are taken")
    ports = [settings.health_port or Port.WORKER.value]
    async with KubernetesApi("purpleflea-worker") as api:
        reviews = TokenReviews(api, WORK_LOG_AUDIENCE)
        if alone:
            pages = WorkerPages(log, reviews, settings.reader or "", well, well, CollectorRegistry())
            async with pages.serving(ports):
                await start.stop.wait()
            return
        client = settings.client()
        queues: list[Queue] = [HandedQueue(EscrowObjects(api), api.namespace, wallet or "")]
        if client is not None and client.supports(Operation.LIST):
            queues.append(ListedQueue(client, wallet or ""))
        claims = TaskClaims(api, api.namespace, settings.identity, settings.claim_seconds)
        worker = Worker(start.settings, Queues(*queues), claims, log, client, start.stop)
        pages = WorkerPages(log, reviews, settings.reader or "", worker.stalled, worker.unready, worker.registry)
        try:
            async with pages.serving(ports):
                _log.info("takes tasks of %s", wallet)
                await worker.run()
        finally:
            if client is not None:
                await client.close()


def _arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(RUN_ONCE, action="store_true", help="do what TASK_DESCRIPTION says, then exit: for a Job")
    how.add_argument(SERVE_LOG, action="store_true", help="serve the work log alone, for an agent with its own loop")


PROGRAM = Program(
    "python -m runtime.agent_worker",
    "Does the tasks that wait for its wallet and logs them for payroll; with --once the one of a Job.",
    Settings,
    run,
    stop_seconds=3600.0,
    add_arguments=_arguments,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
