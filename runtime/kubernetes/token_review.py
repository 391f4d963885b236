"""Who somebody is that shows a ServiceAccount's token: the API server's word, for one audience."""

import hashlib
import time
from typing import Final

import msgspec

from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.shape import Shape

REMEMBERED_SECONDS: Final = 60.0
"""How long a yes holds; a token that is revoked meanwhile still opens what it has opened."""
MOST_REMEMBERED: Final = 100
TOKEN_BYTES: Final = 16 << 10
"""Longer ones are none; nobody else's text of any length is sent to the API server."""

_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


class _User(msgspec.Struct, frozen=True):
    username: str = ""


class _Status(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: _User = _User()
    audiences: tuple[str, ...] = ()


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


_REVIEW: Final[Shape[_Review]] = Shape.of("TokenReview", _Review)


class TokenReviews:
    """Asks the API server; a yes is remembered for a minute.

    Args:
        audience: Whom the token must be meant for.
    """

    def __init__(self, api: KubernetesApi, audience: str) -> None:
        self._api = api
        self._audience = audience
        self._known: dict[str, tuple[str, float]] = {}

    async def user(self, token: str) -> str:
        """Whose token it is, e.g. `system:serviceaccount:NAMESPACE:NAME`; empty where it is not valid here.

        Raises what the API raises.
        """
        if not token or len(token) > TOKEN_BYTES:
            return ""
        key = hashlib.sha256(token.encode()).hexdigest()
        name, until = self._known.get(key, ("", 0.0))
        if time.monotonic() < until:
            return name
        spec = {"token": token, "audiences": [self._audience]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = (await self._api.create(_PATH, body, _REVIEW)).status
        # An authenticator that knows no audiences leaves them out: then the token may be meant for anybody.
        if not status.authenticated or self._audience not in status.audiences:
            return ""
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = status.user.username, time.monotonic() + REMEMBERED_SECONDS
        return status.user.username
