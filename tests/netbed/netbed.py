#!/usr/bin/env python3
"""A test bed of hosts on one machine: network namespaces at a bridge, each with a link of its own.

    tests/netbed/netbed.py --host near --host far:delay=20ms,loss=1% -- ip netns exec near ping -c 3 10.77.0.2

The hosts have the addresses 10.77.0.1, 10.77.0.2 and so on, in their order. A link has these properties, in each direction:

    delay=20ms     added to each frame
    jitter=5ms     the delay is uniform between delay-jitter and delay+jitter; frames may overtake each other
    loss=1%        of the frames, at random
    reorder=25%    of the frames, at random, are not delayed and overtake those that wait
    rate=10mbit    of the frames with their Ethernet headers (tc's units)
    wire           through the emulator, although nothing is injected

A rate is the kernel's token bucket (tc-tbf). The other properties are the kernel's netem, or wire.py where the kernel has no
netem. The command runs beside the bridge, and its exit code is that of the test bed. Without a command, the test bed prints
one line of JSON when it is ready, and then obeys the lines of its standard input until this ends:

    cut HOST       unplugs the host from the bridge
    plug HOST      plugs it in again

Namespaces, names and devices exist in a user and a mount namespace of the test bed alone, and they end with it, also if it is
killed. Needs iproute2, util-linux and user namespaces, and /dev/net/tun without netem.
"""

import argparse
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import wire
from wire import Link

INSIDE = "NETBED_INSIDE"
NETWORK = "10.77.0"
# From linux/sched.h and linux/prctl.h.
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
NICE = -15
LIBC = ctypes.CDLL(None, use_errno=True)

# The queue of a link with a rate: as long as the link takes this long to send.
TBF_LATENCY = "200ms"
# The bucket of a link with a rate: it holds two frames, so that no burst is sent at more than the rate.
TBF_BURST_BYTES = 3200
NETEM_LIMIT_FRAMES = wire.QUEUE_FRAMES_MAX


@dataclass
class Host:
    """A host. `pid` is a process in its namespace, which lives as long as the test bed."""

    name: str
    number: int
    link: Link
    pid: int = 0
    means: list = field(default_factory=list)

    @property
    def address(self):
        return f"{NETWORK}.{self.number}"

    @property
    def hardware_address(self):
        return f"02:00:00:00:00:{self.number:02x}"

    @property
    def port(self):
        """The device at the bridge."""
        return f"port{self.number}"

    def facts(self):
        return {"name": self.name, "address": self.address, "pid": self.pid, "means": self.means}


def main():
    arguments = parser().parse_args()
    if os.environ.get(INSIDE) is None:
        hurry()
        return enter()
    del os.environ[INSIDE]
    # A signal ends this process as the end of its input does: the kernel ends the hosts' processes with it.
    signal.alarm(arguments.seconds_max)
    try:
        hosts, means = build(arguments)
    except subprocess.CalledProcessError as error:
        print(f"netbed.py: {' '.join(error.cmd)}: {error.stderr.strip()}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"netbed.py: {error}", file=sys.stderr)
        return 1
    if arguments.command:
        return subprocess.run(arguments.command, check=False, preexec_fn=take_turns).returncode
    facts = {"means": means, "hosts": [host.facts() for host in hosts]}
    print(json.dumps(facts), flush=True)
    return obey({host.name: host for host in hosts})


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", dest="hosts", action="append", required=True, metavar="NAME[:PROPERTY,...]", type=host)
    parser.add_argument("--means", choices=["auto", "netem", "wire"], default="auto", help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="of wire.py's random numbers [%(default)s]")
    parser.add_argument("--seconds-max", type=int, default=600, metavar="N", help="the longest life [%(default)s]")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="runs beside the bridge")
    return parser


def host(text):
    name, _, properties = text.partition(":")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise argparse.ArgumentTypeError(f"'{name}' is no name of a host")
    try:
        return name, Link.read(properties)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def hurry():
    """Lets the emulators run before other processes, so that a busy machine delays frames less. Only root may. They have no real-time
    priority: many test beds that start at once would keep the kernel's own work from running."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except PermissionError:
        pass


def take_turns():
    os.setpriority(os.PRIO_PROCESS, 0, 0)


def enter():
    """Starts again in namespaces of its own."""
    unshare = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--", sys.executable, *sys.argv]
    try:
        os.execvpe(unshare[0], unshare, {**os.environ, INSIDE: "1"})
    except OSError as error:
        print(f"netbed.py: unshare: {error}", file=sys.stderr)
        return 1


def build(arguments):
    # The names of network namespaces are files here (ip-netns(8)), in this mount namespace alone.
    run("mount", "-t", "tmpfs", "netbed", "/run")
    os.mkdir("/run/netns")
    quiet_network()
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "link", "set", "bridge", "up")
    means = means_of(arguments.means)
    hosts = [Host(name, number, link) for number, (name, link) in enumerate(arguments.hosts, start=1)]
    if len({host.name for host in hosts}) < len(hosts):
        raise OSError("two hosts have the same name")
    for host in hosts:
        connect(host, means, arguments.seed)
    for host in hosts:
        # No frame of a test is an address resolution, whose loss would cost a second.
        for other in hosts:
            if other is not host:
                neighbour = ["neigh", "replace", other.address, "lladdr", other.hardware_address, "dev", "eth0"]
                run_in(host, "ip", *neighbour, "nud", "permanent")
    return hosts, means


def means_of(wanted):
    if wanted != "auto":
        return wanted
    probe = ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    if subprocess.run(probe, check=False, capture_output=True).returncode != 0:
        return "wire"
    run("tc", "qdisc", "del", "dev", "lo", "root")
    return "netem"


def connect(host, means, seed):
    """Makes the host's namespace and its link to the bridge."""
    link = host.link
    is_emulated = link.wire or (link.is_disturbed and means == "wire")
    at_bridge = wire.open_tap(host.port) if is_emulated else None
    host.pid = fork_into_namespace(at_bridge, link, seed + host.number)
    if not is_emulated:
        run("ip", "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
        # Without segmentation offload, a frame on the link is a frame of the network.
        run("ip", "link", "set", host.port, "gso_max_segs", "1")
        run_in(host, "ip", "link", "set", "eth0", "gso_max_segs", "1")
    run("ip", "netns", "attach", host.name, str(host.pid))
    run("ip", "link", "set", host.port, "master", "bridge", "up")
    run_in(host, "ip", "link", "set", "lo", "up")
    run_in(host, "ip", "link", "set", "eth0", "address", host.hardware_address, "up")
    run_in(host, "ip", "address", "add", f"{host.address}/24", "dev", "eth0")
    if is_emulated:
        host.means.append("wire.py")
    parent = "root"
    if link.is_disturbed and not is_emulated:
        for run_there, device in ends(host):
            run_there("tc", "qdisc", "add", "dev", device, "root", "handle", "1:", "netem", *netem(link))
        host.means.append("netem")
        parent = "parent 1:1"
    if link.rate:
        tbf = ["tbf", "rate", link.rate, "burst", str(TBF_BURST_BYTES), "latency", TBF_LATENCY]
        for run_there, device in ends(host):
            run_there("tc", "qdisc", "add", "dev", device, *parent.split(), "handle", "10:", *tbf)
        host.means.append("tbf")


def ends(host):
    """Both ends of a host's link: a function that runs a command there, and the device."""
    return [(run, host.port), (lambda *command: run_in(host, *command), "eth0")]


def netem(link):
    """The arguments of tc-netem(8)."""
    words = ["limit", str(NETEM_LIMIT_FRAMES)]
    if link.delay_s or link.jitter_s:
        words += ["delay", f"{link.delay_s * 1e6:.0f}us", f"{link.jitter_s * 1e6:.0f}us"]
    if link.loss:
        words += ["loss", f"{link.loss * 100}%"]
    if link.reorder:
        words += ["reorder", f"{link.reorder * 100}%"]
    return words


def fork_into_namespace(at_bridge, link, seed):
    """A process in a new network namespace. It forwards the frames of the host's link, or only keeps the namespace."""
    ready, is_ready = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid:
        os.close(is_ready)
        if at_bridge is not None:
            os.close(at_bridge)
        if not os.read(ready, 1):
            raise OSError("a host's network namespace cannot be made")
        os.close(ready)
        return pid
    try:
        # Nothing of the caller is held open by this process.
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        call(LIBC.prctl, PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        call(LIBC.unshare, CLONE_NEWNET)
        quiet_network()
        at_host = wire.open_tap("eth0") if at_bridge is not None else None
        os.write(is_ready, b"1")
        os.close(is_ready)
        signal.alarm(0)
        if at_host is None:
            while True:
                signal.pause()
        wire.forward(at_bridge, at_host, link, seed)
    except BaseException as error:
        print(f"netbed.py: {error}", file=sys.stderr)
    finally:
        os._exit(1)


def quiet_network():
    """Without IPv6, the kernel sends no frames of its own."""
    for file in ["all", "default"]:
        path = Path(f"/proc/sys/net/ipv6/conf/{file}/disable_ipv6")
        if path.exists():
            path.write_text("1")


def obey(hosts):
    for line in sys.stdin:
        match line.split():
            case ["cut", name] if name in hosts:
                run("ip", "link", "set", hosts[name].port, "down")
            case ["plug", name] if name in hosts:
                run("ip", "link", "set", hosts[name].port, "up")
            case _:
                print(f"netbed.py: unknown order: {line.strip()}", file=sys.stderr)
                return 2
        print("done", flush=True)
    return 0


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def run_in(host, *command):
    run("nsenter", f"--target={host.pid}", "--net", *command)


def call(function, *arguments):
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main())
