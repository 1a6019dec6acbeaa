"""What is measured: the peers of this directory, the server's modes, and how each is built and started."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from measuring.failure import Failure

PEERS = Path(__file__).resolve().parent.parent
ROOT = PEERS.parent.parent
BUILD_SECONDS_MAX = 900


@dataclass(frozen=True)
class Subject:
    """A server: its name, what it is called in a table, and the command that starts it on a free port."""

    name: str
    title: str
    command: list
    ours: bool = False


@dataclass(frozen=True)
class Peer:
    """A server of this directory. `make` builds it where it has to be, and returns the command that starts it."""

    name: str
    title: str
    make: object


def c(source, *libraries, arguments=()):
    def make(build):
        # -O3, so that the upper-casing is vectorised as ours is.
        flags = ["-O3", "-Wall", "-Wextra", "-pthread"]
        program = build / source
        sources = [PEERS / f"{source}.c", PEERS / "echo.h"]
        compile_with("cc", program, sources, ["cc", *flags, "-o", program, sources[0], *libraries])
        return [program, "0", *arguments]

    return make


def go(source):
    def make(build):
        program, file = build / source, PEERS / f"{source}.go"
        compile_with("go", program, [file], ["go", "build", "-o", program, file])
        return [program, "0"]

    return make


def rust(program):
    def make(build):
        crate, target = PEERS / "rust", build / "rust"
        path = target / "release" / program
        sources = [crate / "Cargo.toml", crate / "Cargo.lock", *crate.glob("src/**/*.rs")]
        manifest = ["--manifest-path", crate / "Cargo.toml", "--target-dir", target]
        compile_with("cargo", path, sources, ["cargo", "build", "--release", "--locked", "--quiet", *manifest])
        return [path, "0"]

    return make


def node(source):
    return lambda _: [program_at("node"), PEERS / f"{source}.js", "0"]


def python(source, *flags, module=None):
    def make(_):
        if module and importlib.util.find_spec(module) is None:
            raise Missing(f"{sys.executable} has no {module} (pip install {module})")
        return [sys.executable, PEERS / f"{source}.py", "0", *flags]

    return make


# The first is what the others' ratios are relative to.
SERVERS = [
    Peer("c-epoll", "C epoll", c("epoll_server")),
    Peer("c-threads", "C threads", c("threads_server")),
    Peer("c-io-uring", "C io_uring", c("uring_server", "-luring")),
    Peer("tokio-current-thread", "tokio current-thread", rust("tokio-current-thread")),
    Peer("tokio-multi-thread", "tokio multi-thread", rust("tokio-multi-thread")),
    Peer("mio", "mio", rust("mio-echo")),
    Peer("rust-threads", "Rust threads", rust("blocking-threads")),
    Peer("go", "Go", go("go_server")),
    Peer("node", "Node", node("node_server")),
    Peer("python-threads", "Python threads", python("threading_server")),
    Peer("python-selectors", "Python selectors", python("selectors_server")),
    Peer("python-asyncio", "Python asyncio", python("asyncio_server")),
    Peer("python-uvloop", "Python uvloop", python("asyncio_server", "--uvloop", module="uvloop")),
]
# A table of its own needs it: it closes after one echo.
ONCE = Peer("c-epoll-once", "C epoll, closes after one echo", c("epoll_server", arguments=["--once"]))
# Another one too: it speaks HTTP, and stands still when it is told to, which is never here.
HTTP = Peer("c-http", "C epoll, HTTP, stands still once", c("http_stall", arguments=["0", "0"]))


class Missing(Failure):
    """What a peer needs is not on this machine."""


def choose(options, extra=(), threads=1):
    """The subjects that the options ask for: peers first, then our modes. What cannot be had is named."""
    peers = [SERVERS[0], *extra, *SERVERS[1:]]
    names = [peer.name for peer in peers]
    # Without our server only peers can be chosen, which is no mistake where only peers are.
    only_peers = options.only is not None and set(options.only) <= set(names)
    modes = {} if only_peers else our_modes(options.bin, threads)
    wanted = select([*names, *modes], options)
    chosen = {}
    for peer in peers:
        if peer.name not in wanted:
            continue
        try:
            chosen[peer.name] = build_peer(peer, options.build)
        except Failure as failure:
            print(f"left out: {peer.name}: {failure}", file=sys.stderr)
    chosen |= {name: mode for name, mode in modes.items() if name in wanted}
    if not chosen:
        sys.exit("measure.py: nothing is left to measure")
    return chosen


def build_peer(peer, build):
    build.mkdir(parents=True, exist_ok=True)
    return Subject(peer.name, peer.title, [str(word) for word in peer.make(build)])


def our_modes(programs, threads):
    """Every mode that the server's own help lists."""
    server = programs / "server"
    if not server.is_file():
        sys.exit(f"measure.py: {server} is not there: run 'cargo build --release', or name its place with --bin")
    text = subprocess.run([server, "--help"], check=True, stdout=subprocess.PIPE, text=True, timeout=10).stdout
    section = re.search(r"--mode.*?\[env", text, re.DOTALL)
    names = re.findall(r"^ +- ([a-z-]+):", section.group(), re.MULTILINE) if section else []
    if not names:
        sys.exit(f"measure.py: no modes are found in the text of '{server} --help'")
    start = [str(server), "-l", "127.0.0.1:0", "-t", str(threads), "-m"]
    return {name: Subject(name, name, [*start, name], ours=True) for name in names}


def select(names, options):
    """The names that --only and --without leave. A name that nothing has is bad usage."""
    unknown = [name for name in [*(options.only or []), *options.without] if name not in names]
    if unknown:
        print(f"measure.py: no subject is called {', '.join(unknown)}; there are: {', '.join(names)}", file=sys.stderr)
        sys.exit(2)
    return [name for name in names if (options.only is None or name in options.only) and name not in options.without]


def compile_with(tool, program, sources, command):
    """Runs the compiler, unless the program is there and newer than its sources."""
    if program.exists() and program.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    program_at(tool)
    command = [str(word) for word in command]
    try:
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=BUILD_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Failure(f"{tool} was not done after {BUILD_SECONDS_MAX} s") from None
    if result.returncode != 0:
        raise Failure(f"{tool} cannot build it: {result.stderr.strip()}")
    # What was up to date for the compiler is so for us.
    program.touch()


def program_at(tool):
    path = shutil.which(tool)
    if path is None:
        raise Missing(f"no '{tool}' is installed")
    return path
