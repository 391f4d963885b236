"""The test toolchain from a shell: `python -m tests.toolchain status|build|up|down`."""

import argparse
import sys
from collections.abc import Sequence

from components.settings import Settings
from tests.toolchain import cache, cluster, images, tools, wheel
from tests.toolchain.supervisor import Failed


def status() -> None:
    """What is there, from where, which version; nothing is fetched or built."""
    for tool in tools.TOOLS.values():
        found, passed_over = tools.present(tool)
        if found:
            print(f"{tool.name:<26}{found.version:<10}{found.source}: {found.path}")
        else:
            print(f"{tool.name:<26}{'-':<10}not there; {_obtained(tool)}")
        for reason in passed_over:
            print(f"{'':<36}passed over: {reason}")
    print(f"cache: {cache.root()}; running clusters: {', '.join(cluster.names()) or 'none'}")


def _obtained(tool: tools.Tool) -> str:
    ways = [f"Debian package {tool.debian}"] if tool.debian else []
    ways += ["a wheel"] if tool.name in wheel.WHEELS else []
    if recipe := tool.recipe:
        ways.append(f"a build of {recipe.name} {recipe.version}, {recipe.seconds} s")
    return f"`make toolchain` gets it: {' or '.join(ways)}"


def build(names: Sequence[str] = ()) -> None:
    """Fetch or build those that are named, else all but the slowest; goes on after a failure, and then exits with 2."""
    if unknown := {*names} - {*tools.TOOLS}:
        raise tools.Missing(f"no tool named {', '.join(sorted(unknown))}; `status` lists those that exist")
    failed = False
    for name in names or [tool.name for tool in tools.TOOLS.values() if not tool.by_name]:
        try:
            tools.find(name, by_name=True)
        except tools.Missing as missing:
            failed = True
            print(f"{missing}", file=sys.stderr)
    status()
    if failed:
        sys.exit(2)


def up(level: str) -> None:
    """Bring this checkout's cluster up, or find it running, and print how to use it."""
    running = cluster.start(level, cluster.checkout_name(level), owner=None)
    print("# " + ", ".join(f"{event} {seconds} s" for event, seconds in running.seconds.items()))
    if running.inside:
        _bring_image(running)
        print("# next: the line below, then `make render` and dist/dev/README.md; `make cluster-demo` runs both")
    print(f"export KUBECONFIG={running.kubeconfig}")


def _bring_image(running: cluster.Cluster) -> None:
    """The runtime image of this checkout, by the name that a stack gives it unless told otherwise."""
    name = Settings().images.runtime
    try:
        images.bring(running, images.runtime_image(), name)
        print(f"# the node has this checkout's image as {name}, and a default StorageClass")
    except tools.Missing as missing:
        print(f"# without the image {name}: {missing}", file=sys.stderr)


def down() -> None:
    """End this checkout's clusters; says so when there is none."""
    ended = [level for level in ("node", "controlplane") if cluster.stop(cluster.checkout_name(level))]
    print(f"ended: {', '.join(ended)}" if ended else "no cluster of this checkout runs")


def main() -> None:
    """Parse the command line; an obstacle is one message and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m tests.toolchain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for function in (status, down):
        commands.add_parser(function.__name__, help=function.__doc__)
    building = commands.add_parser("build", help=build.__doc__)
    building.add_argument("names", nargs="*", metavar="name", help="as `status` lists them")
    upward = commands.add_parser("up", help=up.__doc__)
    upward.add_argument("--level", choices=("node", "controlplane"), default="node")
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            up(arguments.level)
        elif arguments.command == "build":
            build(arguments.names)
        else:
            {"status": status, "down": down}[arguments.command]()
    except (tools.Missing, Failed) as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
