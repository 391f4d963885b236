"""The first process inside the node's namespaces: prepares what the node's processes see, then reaps orphans.

When it ends, the kernel ends everything in its process namespace and drops its mounts, interfaces and routes: nothing
of the node is left. It runs as a script with nothing but the standard library: `inside.py DIRECTORY HOSTNAME`.
"""

import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, f"{Path(__file__).parents[2]}")
from tests.toolchain import kernel

# The kubelet sets these for the whole machine. It writes into private copies instead, which already say what it wants.
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def hide_machine(directory: Path) -> None:
    """Give the node /run and /var of its own, so that it leaves no stray there; `directory` stays as it is."""
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_SHARED)
    os.chdir(directory)
    kernel.mount("tmpfs", "/run", "tmpfs", data="mode=755")
    for part in ("upper", "work"):
        Path(f"/run/var/{part}").mkdir(parents=True)
    kernel.mount("overlay", "/var", "overlay", data="lowerdir=/var,upperdir=/run/var/upper,workdir=/run/var/work")
    directory.mkdir(parents=True, exist_ok=True)
    kernel.bind(".", f"{directory}")
    os.chdir(directory)
    for own, target in (("kubelet", "/var/lib/kubelet"), ("pod-logs", "/var/log/pods")):
        Path(own).mkdir()
        Path(target).mkdir(parents=True, exist_ok=True)
        kernel.bind(own, target)


def hide_sysctls() -> None:
    """Let the kubelet write its machine-wide settings where they do nothing."""
    for name, value in SYSCTLS.items():
        setting, copy = Path("/proc/sys") / name, Path("/run/sysctl") / name
        if setting.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(f"{value}\n")
            kernel.bind(f"{copy}", f"{setting}")


def main() -> None:
    """Prepare, say so with the file `inside-ready`, reap until the end."""
    directory, hostname = Path(sys.argv[1]), sys.argv[2]
    socket.sethostname(hostname)
    hide_machine(directory)
    hide_sysctls()
    (directory / "inside-ready").touch()
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    main()
