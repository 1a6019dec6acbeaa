"""Hosts in network namespaces of their own, with links that are disturbed; tests/netbed/netbed.py makes them."""

import json
import subprocess
import sys
import tempfile

from measuring.failure import Failure
from measuring.processes import END_SECONDS_MAX, START_SECONDS_MAX, read_line
from measuring.subjects import ROOT

PROGRAM = ROOT / "tests/netbed/netbed.py"


class NetBed:
    """Hosts, from their names and the properties of their links. They end with the block."""

    def __init__(self, hosts, seconds_max):
        self.log = tempfile.TemporaryFile("w+")
        command = [sys.executable, str(PROGRAM), "--seconds-max", str(seconds_max)]
        for name, link in hosts.items():
            command += ["--host", f"{name}:{link}"]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log}
        self.process = subprocess.Popen(command, **streams)
        try:
            line = read_line(self.process.stdout, START_SECONDS_MAX)
        except Failure:
            self.end()
            raise
        if not line:
            self.log.seek(0)
            reason = self.log.read().strip()
            self.end()
            raise Failure(f"no hosts are possible here: {reason}")
        self.hosts = {host["name"]: host for host in json.loads(line)["hosts"]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def on(self, name):
        """The command in front of another one that runs on this host. The program ends with this process."""
        target = f"--target={self.hosts[name]['pid']}"
        enter = ["nsenter", target, "--user", "--mount", "--net", "--preserve-credentials"]
        return [*enter, "setpriv", "--pdeathsig", "KILL"]

    def address(self, name):
        return self.hosts[name]["address"]

    def means(self, name):
        """What disturbs the link of this host."""
        return " and ".join(self.hosts[name]["means"])


class HostServer:
    """Our server on a host. It ends with the block."""

    def __init__(self, bed, name, command):
        self.target = f"{bed.address(name)}:7000"
        command = [*bed.on(name), *command, "--listen", self.target]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **streams)
        line = read_line(self.process.stdout, START_SECONDS_MAX)
        if line != f"listening on {self.target}":
            self.__exit__()
            raise Failure(f"the server printed '{line}' instead of its address")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
