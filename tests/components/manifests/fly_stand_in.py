"""A stand-in for flyctl as an executable on the PATH: keeps Machines, volumes and secrets in a file, as Fly would.

It follows flyctl's behaviour where our scripts rest on it: the format of `secrets import` (no escapes, `#` comments),
and `scale count`, which attaches any volume that is left over. It records each call: arguments, environment, and
whether a secret was visible in any process's command line.
"""

import json
import os
import stat
import sys
import tomllib
from pathlib import Path

STATE = "state.json"


def install(folder: Path, **state) -> Path:
    """Put `fly` into `folder/bin`; `state` may hold machines, volumes, and `break`: {command: what happens}."""
    (folder / "bin").mkdir(exist_ok=True)
    path = folder / "bin" / "fly"
    path.write_text(f"#!{sys.executable} -IS\nimport runpy; runpy.run_path({__file__!r})['main']({str(folder)!r})\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    initial = {"machines": [], "volumes": [], "secrets": {}, "staged": {}, "calls": [], "break": {}, **state}
    (folder / STATE).write_text(json.dumps(initial))
    return path.parent


def read(folder: Path) -> dict:
    return json.loads((folder / STATE).read_text())


def parse_secrets(text: str) -> dict[str, str]:
    """What flyctl understands of the lines on its stdin."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        assert equals, "no NAME=VALUE line"
        value = value.lstrip(" ")
        before, comment, _ = value.partition("#")
        if comment and before.count('"') % 2 == 0:
            value = before.rstrip(" ")
        if value.startswith('"""') and not (value.endswith('"""') and len(value) >= 6):
            parts = [value[3:]]
            for more in lines:
                more = more.removesuffix("\r")
                parts.append(more.removesuffix('"""'))
                if more.endswith('"""'):
                    break
            else:
                raise AssertionError("a value without an end")
            found[name.strip()] = "\n".join(parts)
        elif value.startswith('"""'):
            found[name.strip()] = value[3:-3]
        elif value[:1] in ("'", '"') and value.endswith(value[:1]):
            found[name.strip()] = value[1:-1]
        else:
            found[name.strip()] = value
    return found


def visible_to_others(values) -> list[str]:
    """Command lines on this machine that hold one of the values."""
    shown = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        shown += [line for value in values if len(value) > 8 and value in line]
    return shown


def option(arguments, name, default=None):
    return arguments[arguments.index(name) + 1] if name in arguments else default


def add_volume(state, region, name, machine=None):
    state["volumes"].append(
        {
            "id": f"vol_{len(state['volumes'])}",
            "name": name,
            "region": region,
            "attached_machine_id": machine,
            "attached_alloc_id": None,
        }
    )
    return state["volumes"][-1]


def add_machine(state, region, volume):
    machine = {
        "id": f"m{len(state['machines'])}",
        "state": "started",
        "region": region,
        "config": {"metadata": {"fly_process_group": "app"}},
    }
    state["machines"].append(machine)
    volume["attached_machine_id"] = machine["id"]


def scale_count(state, arguments) -> None:
    wanted, region = int(arguments[2]), option(arguments, "--region")
    machines = [machine for machine in state["machines"] if machine["region"] == region]
    for machine in machines[wanted:]:
        state["machines"].remove(machine)
        for volume in state["volumes"]:
            if volume["attached_machine_id"] == machine["id"]:
                volume["attached_machine_id"] = None
    for _ in range(wanted - len(machines)):
        left = [v for v in state["volumes"] if v["region"] == region and not v["attached_machine_id"]]
        add_machine(state, region, left[0] if left else add_volume(state, region, "agent_data"))


def run_secrets(state, command) -> None:
    if command == "import":
        secrets = parse_secrets(sys.stdin.read())
        state["staged"].update(secrets)
        state["calls"][-1]["visible"] = visible_to_others(secrets.values())
    elif command == "list":
        names = {**state["secrets"], **state["staged"]}
        print(json.dumps([{"name": name, "digest": "0", "status": "Staged"} for name in names], indent=4))
    elif command == "deploy":
        state["secrets"].update(state["staged"])
        state["staged"] = {}
    else:
        sys.exit(f"the stand-in does not know secrets {command}")


def run(state, arguments) -> None:
    command = " ".join(arguments[:2])
    broken = state["break"].get(command)
    if broken == "exit":
        sys.exit(f"Error: {command} failed")
    if broken:
        print(broken)
    elif arguments[0] == "secrets":
        run_secrets(state, arguments[1])
    elif command == "machine list":
        print(json.dumps(state["machines"] or None))
    elif command == "volumes list":
        print(json.dumps(state["volumes"] or None))
    elif command == "volumes create":
        for _ in range(int(option(arguments, "--count"))):
            add_volume(state, option(arguments, "--region"), arguments[2])
    elif arguments[0] == "deploy":
        state["secrets"].update(state["staged"])
        state["staged"] = {}
        config = tomllib.loads(Path(option(arguments, "--config")).read_text())
        region = config["primary_region"]
        left = [v for v in state["volumes"] if v["region"] == region and not v["attached_machine_id"]]
        add_machine(state, region, left[0] if left else add_volume(state, region, config["mounts"]["source"]))
    elif command in ("auth login", "apps create", "status --app"):
        pass
    elif command == "scale count":
        scale_count(state, arguments)
    else:
        sys.exit(f"the stand-in does not know {command}")


def main(folder: str) -> None:
    path = Path(folder) / STATE
    state = json.loads(path.read_text())
    state["calls"].append({"arguments": sys.argv[1:], "environment": dict(os.environ)})
    try:
        run(state, sys.argv[1:])
    finally:
        path.write_text(json.dumps(state))
