"""`python -m runtime.payroll`: one run that pays workers for their tasks, each once."""

import argparse
import logging
import sys

from runtime.contract import ExitCode
from runtime.payroll.settings import Settings
from runtime.service import Kind, Program, Start

NAME = "pf-agent-payroll"
USER_AGENT = "purpleflea-payroll"
_log = logging.getLogger("runtime.payroll")


async def run(start: Start[Settings]) -> int:
    """One run; 1 where another one may go on with something."""
    from datetime import UTC, datetime

    from runtime.contract import DOMAIN
    from runtime.kubernetes.client import KubernetesApi
    from runtime.kubernetes.events import Events
    from runtime.kubernetes.failures import explained
    from runtime.payments.busy_http import unless_proxied
    from runtime.payroll.missed import missed, read_cron_job
    from runtime.payroll.run import CONNECTIONS, TIMEOUTS, Run
    from runtime.payroll.summary import MOST_NAMED, summed_up, table

    settings = start.settings
    with explained():
        api, client = (
            KubernetesApi(USER_AGENT, connections=CONNECTIONS),
            settings.payments.client(unless_proxied(), timeouts=TIMEOUTS),
        )
        async with api, client:
            namespace = settings.namespace or api.namespace
            work = Run(settings, api, client, namespace)
            steps = await work.plan()
            if start.arguments.dry_run:
                sys.stdout.write(table(steps) + "\n")
                return ExitCode.OK
            cron_job = await read_cron_job(api, namespace, NAME)
            late = missed(cron_job, datetime.now(UTC)) if cron_job else ""
            done = await work.do(steps)
            summary = summed_up(steps, done, work.evidence, work.ledger, late)
            for line in summary.named[:MOST_NAMED]:
                _log.warning("%s", line)
            if (more := len(summary.named) - MOST_NAMED) > 0:
                _log.warning("and %s more", more)
            _log.info("%s", summary.text, extra=summary.fields)
            if cron_job:
                words = "; ".join([summary.text, *summary.named[:3]])
                events = Events(api, f"{DOMAIN}/payroll", settings.pod or "payroll")
                await events.post(cron_job, "PayrollRun", words, warning=summary.warns)
    return ExitCode.FAILED if summary.failures or summary.counts["under way"] else ExitCode.OK


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print the plan as a table, and change nothing")


PROGRAM = Program(
    "python -m runtime.payroll",
    "Pays workers for the tasks in their logs, each once; run by a CronJob.",
    Settings,
    run,
    kind=Kind.TASK,
    add_arguments=_arguments,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
