"""What can go wrong between us and a Kubernetes API server.

KubernetesError     it answered and refused: HTTP status, reason, message
├── ObjectNotFound        404
├── Forbidden       403: RBAC, admission, a terminating namespace
├── WriteConflict   409: somebody else wrote first; read again
├── AlreadyExists   409: an object of that name exists
└── TooLarge        the answer is longer than we read
ApiUnreachable         no answer of an API server: whether a write arrived is unknown, so read again
└── ApiUntrusted    its certificate is not one of the authority that was read at start
LoginError          no server, or no identity to present to it: a mistake in the kubeconfig or its plug-in
MalformedObject     one object cannot be read; all others can
"""


class KubernetesError(Exception):
    """The API server refused: HTTP `status`, its `reason` word and its message."""

    def __init__(self, method: str, path: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{method} {path}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class ObjectNotFound(KubernetesError):
    """There is no such object, or no such kind."""


class WriteConflict(KubernetesError):
    """Somebody else wrote first (409 Conflict); read again."""


class AlreadyExists(KubernetesError):
    """An object of that name exists (409 AlreadyExists)."""


class TooLarge(KubernetesError):
    """The answer has more bytes than are read; of a list, ask for fewer objects."""


class Forbidden(KubernetesError):
    """RBAC, admission or a terminating namespace (403); the message names the missing verb."""

    @property
    def terminating(self) -> bool:
        """Whether the namespace is being deleted: nothing can be created in it any more."""
        return "being terminated" in str(self)


class ApiUnreachable(Exception):
    """No answer of the API server came; whether a write arrived is unknown, so read again."""


class ApiUntrusted(ApiUnreachable):
    """Its certificate is not one of the authority that was read at start; a new process reads that again."""


class LoginError(Exception):
    """Where the API server is or who we are cannot be found out; the message says what to mend."""


class MalformedObject(Exception):
    """One object whose content cannot be understood, e.g. a time that is none. It is named, counted and left alone.

    Args:
        kind: E.g. `Escrow`.
        namespace: Its namespace; empty where even that cannot be read.
        name: Its name.
        version: Its resource version.
        problem: What is wrong and where in it, e.g. ``Invalid RFC3339 encoded datetime - at `$.status.lockedAt` ``.
    """

    def __init__(self, kind: str, namespace: str, name: str, version: str, problem: str) -> None:
        super().__init__(f"{kind} {namespace}/{name} cannot be read and is left alone: {problem}")
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.version = version
        self.problem = problem


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed: out of reach, overloaded, or only just starting."""
    return isinstance(error, ApiUnreachable) or (isinstance(error, KubernetesError) and error.status in (429, 500, 503))
