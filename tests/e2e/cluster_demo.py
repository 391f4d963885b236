"""`make cluster-demo`: the dev stack on a real Kubernetes of this machine, from nothing to a payment and back.

It runs the commands of the README that lies beside the rendered files. A cluster that `make cluster` has brought up is
used and left up; else one is brought up, and ended unless it is kept.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from components.errors import BadInput
from components.manifests import naming
from components.settings import Settings
from components.stack_values import ROOT
from components.synth import __main__ as synth
from runtime.contract import ExitCode, Phase, Port
from tests.e2e.kubectl import Kubectl
from tests.e2e.stack import Stack
from tests.toolchain import cluster, images, tools, waiting
from tests.toolchain.supervisor import Failed

STACK = "dev"
SECONDS = 180


class Demo:
    """One run: `stack` is applied, followed, shown and removed."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        """One line of progress, with the seconds since the start."""
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", flush=True)

    def pay(self) -> None:
        """Apply the stack and follow it until its Job is paid."""
        self.say("kubectl apply -k foundation: namespace, accounts, rights, the job gate")
        self._stack.apply_foundation()
        self.say("the job gate acts: a Job that asks for money now waits until it is locked")
        self.say("kubectl apply -k . : the sandbox, the operator, one Job of 0.10 USDC")
        self._stack.apply()
        said: set[str] = set()

        def settled() -> bool:
            phases = {escrow.get("phase") for escrow in self._stack.escrows().values()}
            for line in self._stack.conditions():  # after the phases, so that the end of each is said as well
                if line not in said:
                    said.add(line)
                    self.say(f"  {line}")
            return phases == {Phase.SETTLED.value}

        waiting.until("every Job is paid for", settled, SECONDS, self._stack.state)

    def show(self) -> bool:
        """What a person looks at next: the objects, one account explained, the books; whether these balance."""
        kubectl = self._stack.kubectl
        for words in ("get jobs", "get escrows"):
            print(f"\n$ kubectl -n {kubectl.namespace} {words}\n{kubectl(*words.split())}", end="", flush=True)
        [job] = self._stack.escrows()
        print(f"\n$ python -m runtime.escrowctl explain {job} -n {kubectl.namespace}", flush=True)
        environment = {**os.environ, "KUBECONFIG": f"{kubectl.kubeconfig}"}
        explain = [sys.executable, "-m", "runtime.escrowctl", "explain", job, "-n", kubectl.namespace]
        subprocess.run(explain, cwd=ROOT, env=environment, check=True)
        books = self._stack.statement()
        print("\nThe sandbox's own books:", ", ".join(f"{name} {books['totals'][name]}" for name in books["totals"]))
        print("they balance" if books["balanced"] else f"they do not balance: {books}")
        port = Port.SANDBOX.value
        print(f"\nIts page: kubectl -n {kubectl.namespace} port-forward service/{naming.SANDBOX} {port}")
        print(f"          then http://127.0.0.1:{port}/", flush=True)
        return books["balanced"]

    def remove(self) -> None:
        """Take the stack away in the documented order."""
        print()
        self.say("taken away again: Jobs first, while the operator is there to settle them")
        self._stack.remove_jobs()
        self._stack.remove_foundation()
        self.say("nothing of the stack is left")


def main() -> int:
    """Run it once; 1 when the money does not add up or something does not come up, 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.cluster_demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the stack and the cluster as they are at the end")
    keep = parser.parse_args().keep
    name = cluster.checkout_name("node")
    try:
        before = cluster.find(name)
        try:
            return _run(cluster.start("node", name, owner=None), keep)
        finally:
            if not before and not keep:
                cluster.stop(name)
                print("the cluster is ended")
    except (tools.Missing, BadInput) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    except (Failed, TimeoutError, AssertionError) as error:
        print(error, file=sys.stderr)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return 130


def _run(running: cluster.Cluster, keep: bool) -> int:
    images.bring(running, images.runtime_image(), Settings().images.runtime)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if code := synth.main(["--stack", STACK, "--out", f"{folder}"]):
            return code
        program = tools.find("kubectl").path
        demo = Demo(Stack(Kubectl(program, running.kubeconfig, Settings().namespace, folder), folder / STACK))
        demo.pay()
        balanced = demo.show()
        if keep:
            print("\nIt is left as it is; `make cluster-down` ends all of it.")
            print(f"  export KUBECONFIG={running.kubeconfig}\n  export PATH={program.parent}:$PATH")
        else:
            demo.remove()
    return ExitCode.OK if balanced else ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(main())
