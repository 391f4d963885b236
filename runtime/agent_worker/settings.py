"""What the agent and the worker read from their environment."""

import os
import shlex
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from runtime.contract import Env, MountPath
from runtime.credentials import KeySettings
from runtime.environment import amount, choice, flag, group, number, path, text, url
from runtime.errors import BadInput
from runtime.money import Usdc
from runtime.payments.client import PaymentsClient
from runtime.payments.model import DialectName

SAMPLE: str = "runtime.agent_worker.sample:count_words"
"""What is done where nothing is configured."""


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What is done, and how."""

    description: str = text(Env.TASK_DESCRIPTION, "What is to be done, for the task to read", default="")
    budget: Usdc | None = amount(Env.TASK_BUDGET_USDC, "What one task is worth, for the task to read", default=None)
    command: str | None = text(
        Env.TASK_COMMAND, "Command that does one task, as a shell would read its words; no shell runs it", default=None
    )
    function: str | None = text(
        Env.TASK_CALLABLE,
        "Python function `module:function` that does one task, instead of a command",
        default=None,
        unset="a small task that counts the words of the description",
    )
    seconds: int = number(Env.TASK_SECONDS, "How long one task may take", least=1, most=86_400, default=3600)
    workspace: Path = path(
        Env.WORKSPACE, "Folder of the work log, and of the task", default=Path(MountPath.WORKSPACE.value)
    )

    def __post_init__(self) -> None:
        if self.command and self.function:
            raise BadInput(f"{Env.TASK_COMMAND} and {Env.TASK_CALLABLE} are both set: set one of them")
        if self.function and not all(self.function.partition(":")):
            raise BadInput(f"{Env.TASK_CALLABLE} is {self.function!r}: expected module:function")
        if not self.words:
            raise BadInput(f"{Env.TASK_COMMAND} has no words")
        if not self.workspace.is_dir():
            raise BadInput(f"{Env.WORKSPACE}: there is no folder {self.workspace}; set it to one that can be written")

    @property
    def words(self) -> list[str]:
        """The command, which calls the function where one is set."""
        if self.command:
            try:
                return shlex.split(self.command)
            except ValueError as error:
                raise BadInput(f"{Env.TASK_COMMAND} cannot be split into words: {error}") from None
        return [sys.executable, "-m", "runtime.agent_worker.call", self.function or SAMPLE]

    @property
    def work_log(self) -> Path:
        """The log's file."""
        return self.workspace / Path(MountPath.WORK_LOG.value).name


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """Where a worker's tasks come from, and who may read what became of them."""

    wallet: str | None = text(Env.WORKER_WALLET, "Whose escrows are taken; a worker needs it", default=None)
    reader: str | None = text(
        Env.WORK_LOG_READER,
        "Who may read the work log: `system:serviceaccount:NAMESPACE:NAME`",
        default=None,
        unset="nobody",
    )
    poll_seconds: int = number(Env.POLL_SECONDS, "Pause between two looks at the queue", least=1, most=3600, default=15)
    grace_seconds: int = number(
        Env.GRACE_SECONDS, "How long a task that has begun may go on after SIGTERM", least=0, most=3600, default=45
    )
    claim_seconds: int = number(
        Env.CLAIM_SECONDS, "After how long without a word of its holder a task is free", least=2, most=3600, default=60
    )
    pod: str | None = text(Env.POD_NAME, "Who holds its claims", default=None, unset="the host's name and process id")
    health_port: int | None = number(
        Env.HEALTH_PORT, "Port of work log, probes and metrics", least=1, most=65_535, default=None, unset="8080"
    )
    escrow_url: str | None = url(
        Env.ESCROW_URL, "The escrow service; with a key of the payer its list is the queue", default=None
    )
    dialect: DialectName = choice(
        Env.API_DIALECT, "Which of the HTTP surfaces answers", DialectName, default=DialectName.KUBERNETES
    )
    allow_http: bool = flag(Env.ALLOW_HTTP, "Permits `http://` URLs; only beside a sandbox", default=False)
    key: KeySettings = group(KeySettings)

    @property
    def identity(self) -> str:
        """Who it is to other workers."""
        return self.pod or f"{socket.gethostname()}-{os.getpid()}"

    def client(self) -> PaymentsClient | None:
        """For its queue and for its word that a task is done; None without a key."""
        if not (self.key.key or self.key.file) or self.escrow_url is None:
            return None
        return PaymentsClient(self.dialect, self.escrow_url, self.key.credentials, allow_http=self.allow_http)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of it."""

    task: TaskSettings = group(TaskSettings)
    queue: QueueSettings = group(QueueSettings)
