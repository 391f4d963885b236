"""`python -m tests.runtime.settlement_worker URL KEY JOURNAL CASES`: settles each case; may be killed."""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

from runtime.money import Usdc
from runtime.payments import Credentials, PaymentsClient, Retries
from runtime.settlement.driver import Policy, Settler
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.record import Case
from runtime.settlement.table import Intent

HASTY = Policy(
    patience=timedelta(seconds=1),
    flight=timedelta(seconds=0.5),
    first_delay=timedelta(seconds=0.01),
    longest_delay=timedelta(seconds=0.05),
)


def read_cases(file):
    """The cases that the test wrote down."""
    return [
        Case(key, escrow_id, Intent(intent), "job ended", Usdc.parse(locked), payee)
        for key, escrow_id, intent, locked, payee in json.loads(Path(file).read_text())
    ]


async def main(url, key, journal_file, cases_file):
    """Settle them ten at a time until nothing is left to do."""
    slots = asyncio.Semaphore(10)
    async with PaymentsClient("server", url, Credentials(key), retries=Retries(attempts=1), allow_http=True) as client:
        settler = Settler(
            client,
            SqliteJournal(journal_file),
            policy=HASTY,
            observe=lambda step, record: print(record.key, step, flush=True),
        )

        async def until_closed(case):
            async with slots:
                progress = await settler.settle(case)
                while progress.retry_after_seconds is not None:
                    await asyncio.sleep(min(progress.retry_after_seconds, 0.05))
                    progress = await settler.settle(case)

        await asyncio.gather(*(until_closed(case) for case in read_cases(cases_file)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
