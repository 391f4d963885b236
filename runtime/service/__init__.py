"""One start for every program: arguments, settings, logs, probes, graceful stop, exit codes.

A program declares what it reads and does its work; these lines are a whole one:

    import sys
    from dataclasses import dataclass
    from runtime.contract import Env
    from runtime.environment import group, number
    from runtime.service import ProbeSettings, Program, Start
    from runtime.service.probes import Probes

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        probes: ProbeSettings = group(ProbeSettings)
        poll_seconds: int = number(Env.POLL_SECONDS, "Pause between two reads", least=1, most=3600, default=15)

    async def run(start: Start[Settings]) -> None:
        async with Probes().serving(start.settings.probes.ports):
            await start.stop.wait()

    PROGRAM = Program("python -m runtime.poller", "Reads a queue.", Settings, run)

    if __name__ == "__main__":
        sys.exit(PROGRAM.main())

It answers `--help` and `--version`, names each wrong variable and exits with 2 before it does anything, logs JSON lines
without a secret on standard output, serves `/livez`, `/readyz` and `/metrics` on IPv4 and IPv6, ends within a bound
after SIGTERM, and stands in docs/environment.md.
"""

from runtime.service.program import Failure, Kind, NoSettings, Program, Start
from runtime.service.settings import ProbeSettings

__all__ = ["Failure", "Kind", "NoSettings", "ProbeSettings", "Program", "Start"]
