"""Prometheus metrics of the operator, in the names that Kubernetes controllers use where there is a convention."""

import math
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runtime.payments import PaymentsClient

WAIT_ENDED: Final = "WaitEnded"
"""Outcome, and reason of the condition, of a scheduled run that ends without having run: no money came in time."""


class Metrics:
    """One registry a process; money is in USDC, times in seconds."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ("name",)
        depth = Gauge("workqueue_depth", "Jobs waiting to be reconciled.", labels, registry=registry)
        retries = Counter("workqueue_retries", "Jobs put back after an error.", labels, registry=registry)
        work = Histogram("workqueue_work_duration_seconds", "Time for one Job.", labels, registry=registry)
        self.depth, self.retries, self.work_seconds = depth.labels("jobs"), retries.labels("jobs"), work.labels("jobs")
        self.leader = Gauge(
            "leader_election_master_status", "1 on the replica that leads.", ("name",), registry=registry
        ).labels("pf-escrow-operator")
        self.settlements = Counter(
            "escrow_settlements", "Escrows that reached an end.", ("action", "outcome"), registry=registry
        )
        self.settlement_seconds = Histogram(
            "escrow_settlement_seconds",
            "From the Job's terminal condition to the recorded payment.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
            registry=registry,
        )
        self.funded = Counter("escrow_funded", "Escrows created for Jobs.", ("outcome",), registry=registry)
        self.funded.labels(WAIT_ENDED)  # from 0 on, or Prometheus would see no increase to the first
        self.paid = Counter("escrow_paid_usdc", "Paid to payees.", registry=registry)
        self.locked = Gauge("escrow_locked_usdc", "Locked in open escrows, at the last list.", registry=registry)
        self.review = Gauge("escrow_review_usdc", "USDC held in NeedsReview, at the last list.", registry=registry)
        self.in_review = Gauge("escrow_review", "Escrows in NeedsReview, at the last list.", registry=registry)
        self.oldest = Gauge(
            "escrow_oldest_unsettled_seconds", "Age of the oldest open escrow whose Job ended.", registry=registry
        )
        self.waiting = Gauge(
            "escrow_waiting",
            "Open escrows that wait for something, by what, at the last list.",
            ("reason",),
            registry=registry,
        )
        self.unserved = Gauge(
            "escrow_unserved",
            "Open escrows in namespaces that were served and are no more, at the last list.",
            registry=registry,
        )
        self.expiring = Gauge(
            "escrow_expiring", "Open escrows within an hour of the server's time-out.", registry=registry
        )
        dialect = ("dialect",)  # so that there is no sample where nobody can tell
        self.unaccounted = Gauge(
            "escrow_unaccounted", "Open escrows of the key without an account.", dialect, registry=registry
        )
        self.unaccounted_usdc = Gauge("escrow_unaccounted_usdc", "USDC that they hold.", dialect, registry=registry)
        self.foreign = Gauge(
            "escrow_foreign",
            "Open Escrows of another payer, service or dialect, which are left alone, at the last list.",
            registry=registry,
        )
        self.api_errors = Counter(
            "escrow_api_errors", "Answers that were not a plain yes.", ("api", "kind"), registry=registry
        )
        self.last_list = Gauge(
            "escrow_last_list_timestamp_seconds", "When everything was last listed.", registry=registry
        )
        budget = ("namespace", "budget")
        self.budget_limit = Gauge(
            "escrow_budget_limit_usdc", "Most of a namespace: locked, or in a day.", budget, registry=registry
        )
        self.budget_used = Gauge(
            "escrow_budget_used_usdc", "Reserved of it, at the last write.", budget, registry=registry
        )
        self.malformed = Gauge(
            "escrow_malformed",
            "Objects that cannot be read and are left alone, at the last list.",
            ("kind",),
            registry=registry,
        )
        self.comparisons = Counter(
            "escrow_comparisons", "Funded escrows held against the payment service.", ("seen",), registry=registry
        )
        self.last_comparison = Gauge(
            "escrow_last_comparison_timestamp_seconds",
            "When the last round over all funded escrows was complete.",
            registry=registry,
        )
        self._answered = Gauge(
            "escrow_service_last_answer_timestamp_seconds",
            "When the payment service last answered anything; NaN before it did.",
            registry=registry,
        )
        self._clock = Gauge(
            "escrow_service_clock_ahead_seconds",
            "How far the payment service's clock is ahead of this one; NaN before it told.",
            registry=registry,
        )

    def follow(self, client: PaymentsClient) -> None:
        """Tell of the service what its client knows whenever somebody asks."""
        self._answered.set_function(lambda: at.timestamp() if (at := client.answered_at) else math.nan)
        self._clock.set_function(lambda: math.nan if (ahead := client.clock_ahead) is None else ahead.total_seconds())
