"""Every account there is, once: the Escrow objects, then what was archived of them."""

from collections.abc import AsyncIterator, Iterable, Sequence

from runtime.kubernetes.escrow import Account
from runtime.kubernetes.escrow_objects import EscrowObjects


class Accounts:
    """The accounts of some namespaces, one at a time: a hundred thousand of them fit into no memory limit.

    A list that has to begin again gives some twice, and an account that is archived meanwhile stands in both places:
    each is counted once, by its UID. The objects come first, so that none can slip through between.

    Args:
        namespaces: Whose; one empty name for those of all.
        archived: Accounts that are no objects any more.
    """

    def __init__(self, escrows: EscrowObjects, namespaces: Sequence[str], archived: Iterable[Account] = ()) -> None:
        self._escrows = escrows
        self._namespaces = namespaces
        self._archived = archived
        self.flaws: list[str] = []
        """Accounts that cannot be read, in words."""
        self.notes: list[str] = []
        """Namespaces without any account, in words: a name may be a mistake, and nobody answers that it is."""

    async def __aiter__(self) -> AsyncIterator[Account]:
        seen: set[bytes] = set()
        empty = {*self._namespaces}
        for namespace in self._namespaces:
            listing = self._escrows.list_accounts(namespace)
            async for escrow in listing:
                empty.discard(namespace)
                if _is_new(escrow, seen):
                    yield escrow
            self.flaws += [str(malformed) for malformed in listing.malformed]
        everywhere = "" in self._namespaces
        for escrow in self._archived:
            if everywhere or escrow.namespace in self._namespaces:
                empty -= {escrow.namespace, ""}
                if _is_new(escrow, seen):
                    yield escrow
        self.notes = [f"there is no account in {f'namespace {name}' if name else 'any namespace'}" for name in empty]


def _is_new(escrow: Account, seen: set[bytes]) -> bool:
    uid = escrow.metadata.uid
    try:
        key = bytes.fromhex(uid.replace("-", ""))
    except ValueError:
        key = uid.encode()
    if key in seen:
        return False
    seen.add(key)
    return True
