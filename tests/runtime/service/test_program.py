"""The start and the end of a program, as real child processes."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from runtime.contract import VERSION, ExitCode
from runtime.reference import programs
from tests.runtime.operator.world import eventually
from tests.runtime.service.children import EXAMPLE, ROOT, started

SERVICE = """
import asyncio, logging, sys, time
from runtime.service import Failure, Kind, NoSettings, Program, Start
log = logging.getLogger("test")
async def work(start):
{body}
def run(start):
    return work(start)
sys.exit(Program("python -m test", "Tests.", NoSettings, run, Kind.{kind}, stop_seconds=1).main())
"""


def program(body, kind="SERVICE"):
    return SERVICE.format(body="\n".join(f"    {line}" for line in body.splitlines()), kind=kind)


def test_the_programs_own_part_is_ten_lines():
    own = [line for line in EXAMPLE.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(own) <= 10


def test_the_example_serves_probes_on_both_families_and_ends_on_sigterm():
    with started(EXAMPLE) as child:

        def answers():
            try:
                url = f"http://127.0.0.1:{child.port}/livez"
                return httpx.get(url, trust_env=False, verify=False).status_code == 200
            except httpx.TransportError:
                return child.process.poll() is not None

        assert eventually(answers, "it serves")
        hosts = ["127.0.0.1"] + (["[::1]"] if socket.has_dualstack_ipv6() else [])
        for host in hosts:
            for page in ("livez", "readyz", "metrics"):
                assert httpx.get(f"http://{host}:{child.port}/{page}", trust_env=False, verify=False).status_code == 200
        child.signal(signal.SIGTERM)
        assert child.end()[::2] == (ExitCode.OK, "")


def test_the_example_names_every_mistake_at_once():
    with started(EXAMPLE, PF_POLL_SECONDS="1e3", PF_HEALTH_PORT="none", PF_LOG_LEVEL="LOUD") as child:
        code, entries, err = child.end()
    assert (code, err) == (ExitCode.BAD_INPUT, "")
    assert [entry["level"] for entry in entries] == ["CRITICAL"] * 3
    said = [entry["message"] for entry in entries]
    assert said[0].startswith("PF_LOG_LEVEL is 'LOUD': expected one of DEBUG, INFO")
    assert said[1:] == [
        "PF_HEALTH_PORT is 'none': expected a whole number from 1 to 65535",
        "PF_POLL_SECONDS is '1e3': expected a whole number from 1 to 3600",
    ]


def test_a_port_that_is_taken_is_a_wrong_setting():
    with started(EXAMPLE) as first:
        eventually(lambda: _listens(first.port), "it serves")
        with started(EXAMPLE, PF_HEALTH_PORT=str(first.port)) as second:
            code, (entry,), _ = second.end()
    assert code == ExitCode.BAD_INPUT
    assert f"cannot listen on every address port {first.port}" in entry["message"]


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", [program.name for program in programs()])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_every_program_answers_without_a_key_and_without_doing_anything(name, option, tmp_path):
    module = name if name.startswith("python -m ") else f"python -m runtime.{name}"
    command = [sys.executable, *module.split()[1:], option]
    environment = {"PATH": "/nowhere", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (f"{name} {VERSION}\n" == ran.stdout) if option == "--version" else ("PF_LOG_LEVEL" in ran.stdout)
    assert list(tmp_path.iterdir()) == []


def test_where_packages_are_missing_every_program_says_what_to_install():
    """A clone that has only rendered has few of them; `-S` leaves out all."""
    modules = [program.name.removeprefix("python -m ") for program in programs()]
    modules = [module if module.startswith("runtime.") else f"runtime.{module}" for module in modules]
    environment = {"PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}
    started = {
        module: subprocess.Popen(
            [sys.executable, "-S", "-m", module], env=environment, cwd=ROOT, stdout=-1, stderr=-1, text=True
        )
        for module in modules
    }
    said = {module: (process.communicate(timeout=60)[1], process.returncode) for module, process in started.items()}
    assert said.pop("runtime.contract_json") == ("", 0), "the standard library is enough"
    assert said.pop("runtime.mcp_proxy.approvals")[1] == 2, "it has more to ask for first"
    words = (
        f"is not installed here: {sys.executable} -m pip install --require-hashes -r {ROOT}/requirements/runtime.txt"
    )
    assert {module: (words in err, len(err.splitlines()), code) for module, (err, code) in said.items()} == (
        dict.fromkeys(said, (True, 1, 2))
    )


def test_a_command_whose_reader_has_ended_ends_in_silence():
    """As `| head` has it."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "runtime.contract_json"]
    ran = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (128 + signal.SIGPIPE, "")


def test_every_module_that_can_be_run_is_such_a_program():
    runnable = {file for file in (ROOT / "runtime").rglob("*.py") if "\nif __name__ ==" in file.read_text()}
    of_an_agent = {ROOT / "runtime/agent_worker/call.py"}  # the process in which an agent's own function is called
    assert len(runnable - of_an_agent) == len(list(programs()))


def test_nothing_but_the_environments_room_reads_the_environment():
    reads = re.compile(r"os\.environ|getenv")
    allowed = {
        "runtime/environment.py", "runtime/service/program.py",  # the default of what is read
        "runtime/payments/client.py",  # the same, for who builds it without a program
        "runtime/network.py",  # the names that every HTTP client knows
        "runtime/kubernetes/connection.py", "runtime/kubernetes/kubeconfig.py",  # and every Kubernetes client
        "runtime/demo.py", "runtime/agent/demo.py", "runtime/sandbox/testing.py",  # hand it on to child processes
        "runtime/agent_worker/doing.py",  # and to the agent's own command
        "runtime/work_log.py",  # an example in its docstring
        "runtime/escrowctl/completion.py",  # asked by a shell, before there is a program
    }  # fmt: skip
    found = {str(f.relative_to(ROOT)) for f in (ROOT / "runtime").rglob("*.py") if reads.search(f.read_text())}
    assert found == allowed


# --- the end


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, ExitCode.OK), (signal.SIGINT, ExitCode.INTERRUPTED)])
def test_a_service_finishes_what_it_began(number, code):
    body = """
log.info("serving")
await start.stop.wait()
await asyncio.sleep(0)
log.info("finished")
"""
    with started(program(body)) as child:
        assert child.entry()["message"] == "serving"
        child.signal(number)
        ended, entries, _ = child.end()
    assert (ended, [entry["message"] for entry in entries]) == (code, ["finished"])


@pytest.mark.parametrize(
    "body",
    [
        "log.info('serving')\nawait asyncio.sleep(3600)",
        "log.info('serving')\nawait start.stop.wait()\nawait asyncio.to_thread(time.sleep, 3600)",
        "log.info('serving')\nawait start.stop.wait()\ntime.sleep(3600)",
    ],
    ids=["ignores the stop", "hangs in a thread", "blocks the loop"],
)
def test_a_stop_is_bounded_whatever_hangs(body):
    with started(program(body)) as child:
        assert child.entry()["message"] == "serving"
        child.signal(signal.SIGTERM)
        code, _, _ = child.end()
    assert code == ExitCode.FAILED


def test_what_was_cut_off_is_said():
    with started(program("log.info('serving')\nawait asyncio.sleep(3600)")) as child:
        child.entry()
        child.signal(signal.SIGTERM)
        _, (entry,), _ = child.end()
    assert "did not end within 1 s" in entry["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_task_is_interrupted(number):
    with started(program("log.info('working')\nawait asyncio.sleep(3600)", "TASK")) as child:
        child.entry()
        child.signal(number)
        code, entries, err = child.end()
    assert (code, entries, err) == (ExitCode.INTERRUPTED, [], "")


def test_sigterm_while_a_service_is_still_being_loaded_is_its_end():
    source = program("pass").replace("    return work(start)", "    log.info('loading')\n    time.sleep(3600)")
    with started(source) as child:
        assert child.entry()["message"] == "loading"
        child.signal(signal.SIGTERM)
        assert child.end() == (ExitCode.OK, [], "")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("Failure('no such thing')", ExitCode.FAILED, ["no such thing"]),
        ("Failure('no such thing', 2)", ExitCode.BAD_INPUT, ["no such thing"]),
        ("ExceptionGroup('two', [Failure('one', 2), Failure('other', 2)])", ExitCode.BAD_INPUT, ["one", "other"]),
        ("ExceptionGroup('two', [Failure('one', 2), Failure('other')])", ExitCode.FAILED, ["one", "other"]),
    ],
)
def test_a_failure_is_a_sentence_and_a_code(raised, code, said):
    with started(program(f"raise {raised}")) as child:
        ended, entries, err = child.end()
    assert (ended, err) == (code, "")
    assert [entry["message"] for entry in entries] == said
    assert not any("exc_info" in entry for entry in entries)


def test_what_nobody_foresaw_is_one_log_line_with_its_traceback():
    with started(program("raise KeyError('x')")) as child:
        code, (entry,), err = child.end()
    assert (code, err, entry["level"]) == (ExitCode.FAILED, "", "CRITICAL")
    assert entry["message"] == "stopped by KeyError: 'x'"
    assert "Traceback" in entry["exc_info"]


def test_a_command_speaks_to_people_on_standard_error():
    with started(program("print('{}')\nraise Failure('no such thing')", "COMMAND")) as child:
        out, err = child.process.communicate(timeout=60)
    assert (out, err) == ("{}\n", "test: no such thing\n")


def test_on_a_terminal_a_service_speaks_to_people_too():
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program("log.info('serving')")],
        stdout=theirs,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    assert os.read(ours, 1000).decode().strip() == "test: serving"
    assert process.wait(60) == ExitCode.OK
    os.close(ours)


def test_a_programs_memory_is_its_own():
    """Containers of one pod run as one user: none may read another's environment, and no crash writes the key down."""
    source = """
import asyncio, ctypes, resource
from runtime.service import Kind, NoSettings, Program

def run(start):
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))

raise SystemExit(Program("example", "Tells.", NoSettings, run, kind=Kind.COMMAND).main())
"""
    told = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "0 (0, 0)\n"
