"""A real SLURM on this machine, for tests: munged, slurmctld and a slurmd for each of two nodes, without systemd.

What stands in for a cluster: both nodes are this machine, each declaring 4 CPUs and 8000 MB; the GPUs, one a node, are
character devices that behave as /dev/null. All state lies in one folder; /etc/slurm gets links to it (the place where
the jobs that Snakemake starts look), which go again with `stop`.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PACKAGES = Path(__file__).parents[2] / "apt-packages.txt"
NODES = ("node1", "node2")
CONFIG_DIR = Path("/etc/slurm")
PORT = 26817
WAIT_S = 300
ATTEMPTS = 5
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket,cred_expire=10
SlurmctldPort={port}
SlurmctldTimeout=10
MinJobAge=7200
SlurmdTimeout=10
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool-%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd-%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
ReturnToService=2
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port=26818 CPUs=4 RealMemory=8000 Gres=gpu:1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port=26819 CPUs=4 RealMemory=8000 Gres=gpu:1
PartitionName=cpu Nodes=node[1-2] Default=YES MaxTime=INFINITE DefMemPerCPU=100
PartitionName=gpu Nodes=node[1-2] MaxTime=INFINITE DefMemPerCPU=100
"""


def missing() -> str:
    """Return why SLURM cannot be brought up here; an empty string if it can."""
    if os.geteuid() != 0:
        return "a SLURM of one's own needs root"
    programs = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} not found: apt-get install what {PACKAGES.name} lists"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "Snakemake's SLURM plugin is not installed: pip install --requirement requirements-slurm.txt"
    with socket.socket() as probe:
        if not (CONFIG_DIR / "slurm.conf").is_symlink() and (CONFIG_DIR / "slurm.conf").exists():
            return "this machine has a SLURM already"
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            return f"port {PORT} is taken: another run of these tests has its SLURM up"
    return ""


class Slurm:
    """The daemons of a small cluster.

    Args:
        base: empty folder for their files.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.key = base / "munge.key"
        (base / "state").mkdir()
        self.key.write_bytes(secrets.token_bytes(1024))
        self.key.chmod(0o400)
        (base / "slurm.conf").write_text(CONFIG.format(base=base, host=socket.gethostname(), port=PORT))
        gres = []
        for number, node in enumerate(NODES):
            device = base / f"gpu{number}"
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))  # a character device, as GPUs are
            gres.append(f"NodeName={node} Name=gpu File={device}\n")
        (base / "gres.conf").write_text("".join(gres))
        (base / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")

    def start(self) -> None:
        """Bring the cluster up and wait until its nodes take jobs."""
        for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
            link = CONFIG_DIR / name
            link.unlink(missing_ok=True)
            link.symlink_to(self.base / name)
        files = {name: f"--{name}={self.base}/munge.{name}" for name in ("socket", "seed-file", "pid-file", "log-file")}
        run("munged", "--force", "--num-threads=2", f"--key-file={self.key}", *files.values())
        run("slurmctld", "-c")
        for node in NODES:
            self.start_node(node)
        wait_for(nodes_are_idle, "the nodes are up")

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        run("slurmd", "-N", node)

    def lose_node(self, node: str) -> None:
        """Kill a node's daemon and all that its jobs run there, as a power cut would."""
        os.kill(int((self.base / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)
        steps = [pid for pid, place in processes_with("SLURMD_NODENAME").items() if place == node]
        supervisors = {parent for pid in steps if (parent := parent_of(pid)) and "slurmstepd" in name_of(parent)}
        for pid in (*supervisors, *steps):  # supervisors first: nothing is to report the end of the others
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end_jobs(self) -> None:
        """End all jobs, and bring the nodes back: what a run that failed has left would keep the next one waiting."""
        wait_for(no_jobs, "the jobs have ended")
        for pid, node in processes_with("SLURMD_NODENAME").items():
            if node in NODES:  # without cgroups, SLURM overlooks some processes of the jobs that it ends
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        run("scontrol", "update", f"NodeName={','.join(NODES)}", "State=RESUME", check=False)
        wait_for(nodes_are_idle, "the nodes are free")

    def stop(self) -> None:
        """End all jobs and daemons; leave nothing outside the folder."""
        try:
            self.end_jobs()
        finally:
            for name in (*(f"slurmd-{node}" for node in NODES), "slurmctld", "munge"):
                pid_file = self.base / (f"{name}.pid" if name != "munge" else "munge.pid-file")
                if pid_file.exists():
                    end(int(pid_file.read_text()))
            for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
                (CONFIG_DIR / name).unlink()


def no_jobs() -> bool:
    """Tell all jobs to end, and return whether there are none."""
    run("scancel", "--user=root", check=False)
    done = subprocess.run(("squeue", "--noheader"), capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stdout


def nodes_are_idle() -> bool:
    """Return whether the nodes can take jobs, and have none."""
    return run("sinfo", "--noheader", "--format=%T", check=False).split() == ["idle"]


def processes_with(variable: str) -> dict[int, str]:
    """Return the processes in whose environment a variable is, and its value: SLURMD_NODENAME, SLURM_JOB_ID."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        settings = dict(setting.partition("=")[::2] for setting in read(path).decode(errors="replace").split("\0"))
        if variable in settings:
            found[int(path.parent.name)] = settings[variable]
    return found


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 if it is gone."""
    return int((read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split() or [b"", b"0"])[1])


def name_of(pid: int) -> str:
    """Return the command line of a process."""
    return read(Path(f"/proc/{pid}/cmdline")).decode(errors="replace")


def read(path: Path) -> bytes:
    """Return what a file of /proc says; nothing if its process is gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def end(pid: int) -> None:
    """End a process by its id, and wait for it."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    wait_for(lambda: read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2][:3] in (b"", b" Z "), f"{pid} has ended")


def run(*command: str, check: bool = True) -> str:
    """Run a command and return what it prints.

    One that fails is tried again, if it is checked: a controller that looks for a lost node may be too busy to answer.
    """
    for attempt in range(ATTEMPTS if check else 1):
        if attempt:
            time.sleep(2)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.stdout


def wait_for(condition: Callable[[], bool], what: str, process: subprocess.Popen | None = None) -> None:
    """Wait until a condition holds.

    Args:
        condition: that is waited for.
        what: it says, as a clause.
        process: Snakemake, if nothing comes true without it.

    Raises:
        AssertionError: if the process ends first, or it takes longer than on any machine that is not stuck.
    """
    limit = time.monotonic() + WAIT_S
    while not condition():
        assert process is None or process.poll() is None, f"{what}: Snakemake ended before, with {process.returncode}"
        assert time.monotonic() < limit, f"{what}: not within {WAIT_S} s"
        time.sleep(0.1)
