"""`escrowctl doctor`: everything that can hold up a payment, each finding with the command that mends it."""

from collections.abc import Awaitable
from datetime import UTC, datetime

from runtime.contract import Env
from runtime.escrowctl import money_checks, system_checks
from runtime.escrowctl.finding import Finding, Level
from runtime.escrowctl.system_checks import Deployment
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.errors import Forbidden, KubernetesError
from runtime.kubernetes.escrow import NOT_SETTLED
from runtime.kubernetes.escrow_objects import EscrowObjects
from runtime.kubernetes.watched import Watched


class Doctor:
    """Checks one operator and the accounts that it serves. A check that is refused says so, and the others go on.

    Args:
        api: Logged in as the person.
        namespace: Where the operator is.
    """

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def findings(self) -> list[Finding]:
        """All findings, the installation's first. Raises `ApiUnreachable`."""
        found = await self._asked("definition", system_checks.definition(self._api))
        if any(finding.level is Level.ERROR for finding in found):
            return found
        operator: Deployment | None = None
        try:
            operator = await system_checks.find_deployment(self._api, self._namespace)
            found += system_checks.operator(operator, self._namespace)
        except KubernetesError as error:
            found.append(_refused("operator", error))
        served = await self._served(operator)
        if operator is not None:
            found += await self._asked("leader", system_checks.leader(self._api, operator))
            found += await self._asked("rights", system_checks.rights(self._api, operator, served))
            found += await self._asked("secret", system_checks.secret(self._api, operator))
            found += await self._asked("progress", system_checks.progress(self._api, operator))
        found += await self._asked("accounts", self._accounts(operator, served))
        found += await self._asked("budget", money_checks.budgets(self._api, served))
        return found + await self._asked("held", money_checks.finalizers(self._api, served, datetime.now(UTC)))

    async def _accounts(self, operator: Deployment | None, served: list[str]) -> list[Finding]:
        """The checks of every account that is not settled, read once."""
        now, objects = datetime.now(UTC), EscrowObjects(self._api)
        everywhere = objects.list("", fieldSelector=NOT_SETTLED)
        try:
            escrows = [escrow async for escrow in everywhere]
            found = money_checks.unwatched(escrows, served)
            problems = everywhere.malformed
        except Forbidden as error:  # a tenant's admin sees no more than these
            lists = [objects.list(namespace, fieldSelector=NOT_SETTLED) for namespace in served]
            escrows = [escrow for each in lists async for escrow in each]
            found = [_refused("unwatched", error)]
            problems = [problem for each in lists for problem in each.malformed]
        found += money_checks.malformed(problems)
        found += money_checks.dialects(escrows, operator)
        return found + money_checks.waits(escrows, now) + money_checks.reviews(escrows, now)

    async def _served(self, operator: Deployment | None) -> list[str]:
        """The namespaces that the operator serves; its own where it does not say, or its selector cannot be asked."""
        watch = operator.env.get(Env.WATCH_NAMESPACE, "") if operator else ""
        try:
            return [*await Watched.parse(watch or self._namespace).namespaces(self._api)]
        except Forbidden:
            return [self._namespace]

    async def _asked(self, check: str, asking: Awaitable[list[Finding]]) -> list[Finding]:
        try:
            return await asking
        except KubernetesError as error:
            return [_refused(check, error)]


def _refused(check: str, error: KubernetesError) -> Finding:
    return Finding(check, Level.UNKNOWN, f"not checked: {error.message}", "use an administrator's kubeconfig")
