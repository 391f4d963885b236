"""What Fly scrapes from port 9091: requests as they end, and the ledger's own figures.

With several server processes in a Machine each counts in a file of its own in `PROMETHEUS_MULTIPROC_DIR`, which
`prometheus_client` adds up; the ledger's figures are read from the ledger, whoever serves them.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from runtime.agent.ledger import totals
from runtime.contract import LEDGER_FILE, AgentMetric
from runtime.money import MICRO


class Metrics:
    """What one server process counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = AgentMetric.REQUESTS.value.removesuffix("_total")
        self.requests = Counter(name, "Inferences by outcome.", ("outcome",), registry=registry)
        self.seconds = Histogram(AgentMetric.SECONDS.value, "How long an inference took.", registry=registry)
        self.in_flight = Gauge(
            AgentMetric.IN_FLIGHT.value, "Inferences under way.", registry=registry, multiprocess_mode="livesum"
        )


class LedgerFigures(Collector):
    """The ledger's escrows by state and region.

    Args:
        folder: Of the ledger.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER_FILE

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read them from the file; nothing, not zero, where it cannot be read."""
        escrows = GaugeMetricFamily(AgentMetric.ESCROWS.value, "Escrows in the ledger.", labels=("state", "region"))
        amount = GaugeMetricFamily(AgentMetric.AMOUNT.value, "USDC locked in them.", labels=("state", "region"))
        try:
            rows = totals(self._path)
        except sqlite3.Error:
            return
        for row in rows:
            escrows.add_metric((row["state"], row["region"]), row["escrows"])
            amount.add_metric((row["state"], row["region"]), row["amount_micro"] / MICRO)
        yield escrows
        yield amount


def together(folder: Path, shared: Path) -> CollectorRegistry:
    """What all server processes of a Machine count, for the one that shows it."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(shared))
    registry.register(LedgerFigures(folder))
    return registry
