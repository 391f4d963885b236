"""`python -m components.autoscaling_sim TRACE`: what the stack's autoscaler would do with a trace of the queue.

TRACE has lines of SECONDS,DEPTH (`?` for unknown). The HPA is the one that the stack declares.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from components.autoscaling_sim.drawing import summary, svg, table, terminal
from components.autoscaling_sim.trace import Trace, replay
from components.errors import BadInput
from components.manifests import autoscaling
from components.settings import BadSettings
from components.stack_values import ROOT, StackValues
from runtime.contract import ExitCode

AFTER_SECONDS = 900.0
"""How long the last depth of a trace stays, unless another end is asked for."""


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Replay, print, and draw where asked to."""
    parser = argparse.ArgumentParser(prog="python -m components.autoscaling_sim", description=__doc__)
    parser.add_argument("trace", type=Path, help="a file with lines of SECONDS,DEPTH")
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--hpa", metavar="JSON", help='other settings of purpleflea.hpa, e.g. {"maxReplicas": 50}')
    parser.add_argument("--replicas", type=int, help="workers at first (default: the fewest)")
    parser.add_argument("--until", type=float, help=f"last second (default: {AFTER_SECONDS:g} s after the trace's end)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it into this file, too")
    options = parser.parse_args(arguments)
    try:
        trace = Trace.read(options.trace)
        values = StackValues.from_files(root, options.stack)
        settings = (values.with_value("hpa", options.hpa) if options.hpa else values).settings()
        spec = autoscaling.horizontal_pod_autoscaler(settings)["spec"]
        until = trace.seconds[-1] + AFTER_SECONDS if options.until is None else options.until
        replicas = settings.hpa.min_replicas if options.replicas is None else options.replicas
        if replicas < 0 or until < trace.seconds[0]:
            raise BadInput("--replicas must not be negative, and --until not before the trace begins")
        syncs = replay(spec, trace, replicas, until)
        budget = settings.task_budget(settings.worker)
        if options.svg:
            options.svg.write_text(svg(syncs, budget, f"{options.trace.name}: {json.dumps(spec['behavior'])}"))
    except (BadInput, BadSettings, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_INPUT
    lines = (*table(syncs, budget), "", *terminal(syncs, budget), "", summary(syncs, budget))
    sys.stdout.write("\n".join(lines) + "\n")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
