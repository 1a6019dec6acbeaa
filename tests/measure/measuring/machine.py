"""The machine, the build and the tools of a measurement, as its result names them."""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from measuring.subjects import ROOT

# A build is dirty if one of these has changes without a commit.
SOURCES = ["server", "loadgen", "common", "tests", "Cargo.toml", "Cargo.lock"]
VERSION_COMMANDS = {
    "cc": ["cc", "--version"],
    "rustc": ["rustc", "--version"],
    "go": ["go", "version"],
    "node": ["node", "--version"],
}


def machine():
    """Lines that describe the machine, by their names."""
    kernel = f"Linux {platform.release()}"
    return {"machine": f"{cpus()}, {memory()}", "kernel": kernel, "mitigations": mitigations(), "network": network()}


def cpus():
    models = re.findall(r"^model name\s*: (.*)$", read("/proc/cpuinfo"), re.MULTILINE)
    cpu = f"{os.cpu_count()} CPUs ({models[0].strip() if models else platform.machine()})"
    hypervisor = re.search(r"^Hypervisor vendor: +(.*)$", output("lscpu"), re.MULTILINE)
    return f"{cpu} under {hypervisor.group(1)}" if hypervisor else cpu


def memory():
    kib = re.search(r"^MemTotal: +(\d+)", read("/proc/meminfo"), re.MULTILINE)
    return f"{int(kib.group(1)) / (1 << 20):.0f} GiB of memory" if kib else "unknown memory"


def mitigations():
    """What the kernel does against each vulnerability of these CPUs."""
    files = sorted(Path("/sys/devices/system/cpu/vulnerabilities").glob("*"))
    states = {file.name: file.read_text().strip() for file in files}
    affected = [f"{name}: {state.removeprefix('Mitigation: ')}" for name, state in states.items() if state != "Not affected"]
    return "; ".join(affected) or ("not needed" if states else "unknown")


def network():
    """A namespace that `unshare -n` made has no interface but loopback."""
    is_separate = [name for _, name in socket.if_nameindex()] == ["lo"]
    namespace = "a separate namespace with loopback alone" if is_separate else "a namespace with other interfaces"
    return f"{namespace}, TCP congestion control {read('/proc/sys/net/ipv4/tcp_congestion_control').strip()}"


def build(programs):
    """The commit of the sources, and a warning if the programs are older than these."""
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT]
    commit = output(*git, "describe", "--always") or "unknown commit"
    dirty = "-dirty" if output(*git, "status", "--porcelain", "--", *SOURCES) else ""
    return f"{commit}{dirty}{', programs are older than the sources' if is_outdated(programs) else ''}"


def is_outdated(programs):
    """The same comparison as cargo's. Programs of another folder may have other sources."""
    program = programs / "loadgen"
    if programs != ROOT / "target/release" or not program.exists():
        return False
    sources = [file for folder in SOURCES[:3] for file in (ROOT / folder).glob("src/**/*.rs")]
    return program.stat().st_mtime < max(file.stat().st_mtime for file in sources)


def versions(tools):
    """The versions of compilers and interpreters, and of the Rust that builds our programs."""
    return "; ".join(filter(None, (version(tool) for tool in dict.fromkeys(["rustc", *tools]))))


def version(tool):
    if tool == "python":
        return f"Python {platform.python_version()}"
    text = output(*VERSION_COMMANDS[tool]).splitlines()
    return f"{tool if tool == 'node' else ''} {text[0]}".strip() if text else None


def output(*command):
    """The output of a command, or nothing if it fails or is not installed."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        print(f"measure.py: {command[0]} does not answer", file=sys.stderr)
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def read(path):
    return Path(path).read_text()
