"""The `Escrow` definition: the in-cluster account of one piece of work. `kubectl get escrows` is the statement.

What the API server itself holds, whoever writes: the work, the dialect and the token never change; payee, amount and
escrow id are set once; the phase moves forward only, and out of `NeedsReview` only together with a new entry in
`status.acts`, that is by a person; what was intended, paid and decided is set once. `Decided` and `Verifying` share a
rank, because the note that an act is being sent is taken back when nothing happened. Every text and list is bounded,
which also bounds what the rules may cost.
"""

from typing import Final

from components.manifests.crd_schema import amount, definition, reservation, text, time
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import ESCROW_GROUP, ESCROW_KIND, ESCROW_PLURAL, MOST_ACTS, Phase, WorkKind

NAME = f"{ESCROW_PLURAL}.{ESCROW_GROUP}"
_RANK = {
    Phase.PENDING: 0,
    Phase.FUNDED: 1,
    Phase.DECIDED: 2,
    Phase.VERIFYING: 2,
    Phase.NEEDS_REVIEW: 3,
    Phase.SETTLED: 4,
}
SELECTABLE: Final = (".spec.escrowId", ".spec.work.id", ".spec.work.kind", ".status.phase")
"""What `kubectl get escrows --field-selector` takes."""

_REVIEW = Phase.NEEDS_REVIEW.value


def custom_resource_definition(settings: Settings) -> Manifest:
    """The definition, served and stored in one version with a status subresource."""
    return definition(
        settings, ESCROW_KIND, ESCROW_PLURAL, schema(), _columns(), short_names=["esc"], selectable=SELECTABLE
    )


def schema() -> Manifest:
    """The OpenAPI schema of one Escrow."""
    return {
        "type": "object",
        "description": "The account of one piece of work: what was locked, for whom, what was paid, and why.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
        "x-kubernetes-validations": [
            _rule("!has(oldSelf.status) || has(self.status)", "a status is never taken away"),
            _rule(
                "!has(self.status) || !has(self.status.phase) || !(self.status.phase in ['Funded', 'Verifying'])"
                " || has(self.spec.escrowId)",
                "no escrow is bound yet: spec.escrowId comes before Funded and Verifying",
            ),
        ],
    }


def _spec() -> Manifest:
    return {
        "type": "object",
        "required": ["dialect", "token"],
        "properties": {
            "work": _work(),
            "job": _fixed(
                {
                    "type": "object",
                    "description": "The Job of `work` again; in accounts of an earlier version only here.",
                    "required": ["name", "uid"],
                    "properties": {"name": text(253), "uid": text(64)},
                },
                "the Job never changes",
            ),
            "dialect": _fixed(
                {"type": "string", "enum": ["kubernetes", "fly", "server"], "description": "Which HTTP surface."},
                "the dialect never changes",
            ),
            "token": _fixed(
                text(128, "Sent with the create, so that an escrow whose answer was lost is found again."),
                "the token never changes",
            ),
            "escrowId": text(200, "The escrow at the payment service."),
            "payee": text(253, "Who is paid."),
            "amountUsdc": amount("USDC locked for this work."),
            "payer": text(253, "Who pays; another payer's operator leaves it alone."),
            "service": text(2048, "URL of the payment service; an operator of another one leaves it alone."),
        },
        "x-kubernetes-validations": [
            _rule("has(self.work) || has(self.job)", "say what it pays for: spec.work"),
            _rule(
                "!has(self.work) || !has(self.job) || (self.work.kind == 'Job' && self.work.name == self.job.name"
                " && has(self.work.uid) && self.work.uid == self.job.uid)",
                "spec.job and spec.work name the same Job",
            ),
            _rule("!has(oldSelf.job) || has(self.job)", "the Job never changes"),
            *[_once(name) for name in ("work", "escrowId", "payee", "amountUsdc", "payer", "service")],
        ],
    }


def _work() -> Manifest:
    """What is paid for. An account of an earlier version may get it once, as the Job that it has."""
    return {
        "type": "object",
        "description": "The piece of work that is paid for; it never changes.",
        "required": ["kind", "name"],
        "properties": {
            "kind": {"type": "string", "enum": [kind.value for kind in WorkKind]},
            "name": text(253, "The Job's name, or the task's for a person."),
            "uid": text(64, "The Job's UID; a Job recreated under the same name has another."),
            "taskId": text(253, "The task's id in its worker's log."),
            "id": text(253, "The work's identity, which stays when its object is created anew."),
            "run": {
                "type": "integer",
                "format": "int32",
                "minimum": 2,
                "description": "Which run of the work it is; the first has none.",
            },
        },
        "x-kubernetes-validations": [
            _rule(
                "self.kind == 'Job' ? has(self.uid) && !has(self.taskId) : has(self.taskId) && !has(self.uid)",
                "a Job has its uid, a Task its taskId",
            ),
        ],
    }


def _status() -> Manifest:
    properties = {
        "phase": {"type": "string", "enum": [phase.value for phase in Phase], "description": "Only moves forward."},
        "intent": {
            "type": "string",
            "enum": ["release", "dispute", "cancel"],
            "description": "Written before the call.",
        },
        "attempts": {"type": "integer", "format": "int32", "minimum": 0, "description": "Acts sent so far."},
        "lastAnswer": {
            "type": "object",
            "description": "What the payment service last said.",
            "properties": {
                "kind": text(32, "What it amounts to: accepted, conflict, refused, unknown, sent."),
                "time": time(),
                "status": {"type": "integer", "format": "int32", "description": "HTTP status, where there was one."},
                "code": text(128, "The service's word, or ours for what was wrong."),
                "digest": text(64, "SHA-256 of the answer, which itself is kept nowhere."),
            },
        },
        **{f"{moment}At": time() for moment in ("locked", "decided", "closed", "autoRelease")},
        "outcome": {"type": "string", "enum": ["Paid", "Disputed", "Refunded", "Cancelled"]},
        "claim": text(64, "The Lease, in the operator's namespace, by which the escrow pays for this Job alone."),
        "payee": text(253, "Who is paid, as agreed or as the service says."),
        "lockedUsdc": amount("USDC that the service says it holds."),
        "paidUsdc": amount("USDC that reached the payee."),
        "feeUsdc": amount("USDC that the service kept."),
        "referralUsdc": amount("USDC of the fee that went to the referrer."),
        "reason": text(1024, "Why, for a person."),
        "evidence": text(4096, "All that is known, for a person."),
        "remedy": text(1024, "What a person should do."),
        "drift": {"type": "boolean", "description": "It ended by another's act, not as intended."},
        "jobEnding": {
            "type": "object",
            "description": "How the Job ended; from here on the Job itself may go.",
            "required": ["type", "time"],
            "properties": {
                "type": {"type": "string", "enum": ["Complete", "Failed", "Deleted"]},
                "time": time(),
                "message": text(1024),
            },
        },
        "creation": {
            "type": "object",
            "description": "The create that was sent, or is about to be, for a Job that asked for an escrow.",
            "required": ["fingerprint", "sentAt", "attempts"],
            "properties": {
                "fingerprint": text(64, "Of the request: the token never carries another one."),
                "sender": text(64, "Digest of the API key that it was sent with."),
                "sentAt": time(),
                "attempts": {"type": "integer", "format": "int32", "minimum": 1},
            },
        },
        "reservation": reservation(),
        "run": {
            "type": "object",
            "description": "The latest run after the first, and the UID of the one Job that it is for.",
            "required": ["number", "uid"],
            "properties": {"number": {"type": "integer", "format": "int32", "minimum": 2}, "uid": text(64)},
        },
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": _conditions(),
        "acts": _acts(),
        "earlierActs": {
            "type": "object",
            "description": "The acts before those in `acts`: how many, and who did what when.",
            "required": ["count", "text"],
            "properties": {"count": {"type": "integer", "format": "int32", "minimum": 1}, "text": text(2048)},
        },
    }
    return {"type": "object", "properties": properties, "x-kubernetes-validations": _status_rules()}


def _status_rules() -> list[Manifest]:
    ranks = "{" + ", ".join(f"'{phase.value}': {rank}" for phase, rank in _RANK.items()) + "}"
    acts = "(has({0}.acts) ? size({0}.acts) : 0) + (has({0}.earlierActs) ? {0}.earlierActs.count : 0)"
    acted = f"({acts.format('self')} > {acts.format('oldSelf')})"
    earlier = "(has({0}.earlierActs) ? {0}.earlierActs.count : 0)"
    dropped = "oldSelf.acts.filter(act, !has(self.acts) || !(act in self.acts)).size()"
    reviewed = f"has(oldSelf.phase) && oldSelf.phase == '{_REVIEW}'"
    once = ("claim", "lockedUsdc", "paidUsdc", "feeUsdc", "referralUsdc", "outcome", "jobEnding")
    return [
        _rule(
            "!has(oldSelf.phase) || (has(self.phase) && "
            f"(oldSelf.phase == '{_REVIEW}' || {ranks}[self.phase] >= {ranks}[oldSelf.phase]))",
            "the phase only moves forward",
        ),
        _rule(
            f"!({reviewed}) || self.phase == '{_REVIEW}' || {acted}",
            "only a person's act, appended to status.acts, leads out of NeedsReview",
        ),
        _rule(
            f"!has(oldSelf.intent) || (has(self.intent) && self.intent == oldSelf.intent) || ({reviewed} && {acted})",
            "an intent is decided once, and changed only by a person's act",
        ),
        *[_once(name, unless=reviewed if name.endswith("Usdc") else "") for name in once],
        _rule(
            "!has(self.phase) || self.phase != 'Settled' || (has(self.outcome) && has(self.closedAt))",
            "Settled needs outcome and closedAt",
        ),
        _rule(
            "!has(oldSelf.run) || (has(self.run) && (self.run == oldSelf.run || self.run.number > oldSelf.run.number))",
            "a run is given to one Job",
        ),
        _rule(
            f"!has(oldSelf.acts) || {dropped} <= {earlier.format('self')} - {earlier.format('oldSelf')}",
            "acts are kept, or summed up and counted in status.earlierActs",
        ),
        _rule(f"{earlier.format('self')} >= {earlier.format('oldSelf')}", "status.earlierActs never goes back"),
    ]


def _conditions() -> Manifest:
    return {
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "lastTransitionTime"],
            "properties": {
                "type": text(64),
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": text(128),
                "message": {"type": "string", "maxLength": 1024},
                "lastTransitionTime": time(),
                "observedGeneration": {"type": "integer", "format": "int64"},
            },
        },
    }


def _acts() -> Manifest:
    return {
        "type": "array",
        "maxItems": MOST_ACTS,
        "x-kubernetes-list-type": "atomic",
        "description": "What people did, oldest first.",
        "items": {
            "type": "object",
            "required": ["who", "when", "what", "reason"],
            "properties": {"who": text(256), "when": time(), "what": text(128), "reason": text(512)},
        },
    }


def _columns() -> list[Manifest]:
    paths = {
        "Work": ".spec.work.name",
        "Phase": ".status.phase",
        "Locked": ".status.lockedUsdc",
        "Payee": ".status.payee",
        "Paid": ".status.paidUsdc",
        "Outcome": ".status.outcome",
    }
    columns: list[Manifest] = [{"name": name, "type": "string", "jsonPath": path} for name, path in paths.items()]
    columns.append({"name": "Kind", "type": "string", "jsonPath": ".spec.work.kind", "priority": 1})
    columns.append({"name": "Reason", "type": "string", "jsonPath": ".status.reason", "priority": 1})
    return [*columns, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]


def _rule(rule: str, message: str) -> Manifest:
    return {"rule": rule, "message": message}


def _fixed(schema: Manifest, message: str) -> Manifest:
    return {**schema, "x-kubernetes-validations": [_rule("self == oldSelf", message)]}


def _once(name: str, unless: str = "") -> Manifest:
    kept = f"!has(oldSelf.{name}) || (has(self.{name}) && self.{name} == oldSelf.{name})"
    return _rule(f"{kept} || ({unless})" if unless else kept, f"{name} is set once")
