"""The servers that are measured: the peers in tests/peers and the modes of our server; how each is built and started."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from measuring.failure import Failure, Missing

ROOT = Path(__file__).resolve().parents[3]
PEERS = ROOT / "tests/peers"
BUILD_SECONDS_MAX = 900


@dataclass(frozen=True)
class Subject:
    """A server: its name on the command line, its title in a table, and the command that starts it on a free port."""

    name: str
    title: str
    command: list
    ours: bool = False


@dataclass(frozen=True)
class Peer:
    """A server in tests/peers. `tool` is its compiler or interpreter. `make` takes the build folder, builds the server
    if necessary, and returns the command that starts it. `--peers main` selects the peers with `is_main`."""

    name: str
    title: str
    tool: str
    make: object
    is_main: bool = False


def c(source, *libraries, arguments=()):
    def make(build):
        # With -O3, the compiler vectorises the conversion to upper case, as it does in our server.
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
    return lambda _: [path_of("node"), PEERS / f"{source}.js", "0"]


def python(source, *flags, module=None):
    def make(_):
        if module and importlib.util.find_spec(module) is None:
            raise Missing(f"{sys.executable} has no {module} (pip install {module})")
        return [sys.executable, PEERS / f"{source}.py", "0", *flags]

    return make


# The ratios of a table are relative to the first one.
SERVERS = [
    Peer("c-epoll", "C epoll", "cc", c("epoll_server"), is_main=True),
    Peer("c-threads", "C threads", "cc", c("threads_server"), is_main=True),
    Peer("c-io-uring", "C io_uring", "cc", c("uring_server", "-luring"), is_main=True),
    Peer("tokio-current-thread", "tokio current-thread", "rustc", rust("tokio-current-thread"), is_main=True),
    Peer("tokio-multi-thread", "tokio multi-thread", "rustc", rust("tokio-multi-thread")),
    Peer("mio", "mio", "rustc", rust("mio-echo"), is_main=True),
    Peer("rust-threads", "Rust threads", "rustc", rust("blocking-threads")),
    Peer("go", "Go", "go", go("go_server")),
    Peer("node", "Node", "node", node("node_server")),
    Peer("python-threads", "Python threads", "python", python("threading_server")),
    Peer("python-selectors", "Python selectors", "python", python("selectors_server")),
    Peer("python-asyncio", "Python asyncio", "python", python("asyncio_server")),
    Peer("python-uvloop", "Python uvloop", "python", python("asyncio_server", "--uvloop", module="uvloop")),
]
# Only for the table `churn`: it closes each connection after one echo.
ONCE = Peer("c-epoll-once", "C epoll, closes after one echo", "cc", c("epoll_server", arguments=["--once"]), is_main=True)
# Only for the table `stall`: it speaks HTTP, and stalls once. With these arguments it never stalls.
HTTP = Peer("c-http", "C epoll, HTTP, stalls once", "cc", c("http_stall", arguments=["0", "0"]))


def choose(options, extra=(), threads=1):
    """The subjects that the options select: first the peers, then our modes. A peer that cannot be built here is named
    on stderr and left out."""
    peers = [peer for peer in [SERVERS[0], *extra, *SERVERS[1:]] if options.peers == "all" or peer.is_main]
    peers = [] if options.peers == "none" else peers
    names = [peer.name for peer in peers]
    # Our server need not be built if only peers are selected.
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
        raise Failure("there is no subject to measure")
    return chosen


def build_peer(peer, build):
    build.mkdir(parents=True, exist_ok=True)
    return Subject(peer.name, peer.title, [str(word) for word in peer.make(build)])


def tools_of(names):
    """The compilers and interpreters of these peers, each once."""
    return tuple(dict.fromkeys(peer.tool for peer in [*SERVERS, ONCE, HTTP] if peer.name in names))


def our_modes(programs, threads):
    """Every mode that the help of our server lists."""
    server = programs / "server"
    if not server.is_file():
        raise Failure(f"{server} does not exist: run 'cargo build --release', or name the folder with --bin")
    text = subprocess.run([server, "--help"], check=True, stdout=subprocess.PIPE, text=True, timeout=10).stdout
    section = re.search(r"--mode.*?\[env", text, re.DOTALL)
    names = re.findall(r"^ +- ([a-z-]+):", section.group(), re.MULTILINE) if section else []
    if not names:
        raise Failure(f"'{server} --help' lists no modes")
    start = [str(server), "-l", "127.0.0.1:0", "-t", str(threads), "-m"]
    return {name: Subject(name, name, [*start, name], ours=True) for name in names}


def select(names, options):
    """The names that --only and --without leave. An unknown name is a usage error."""
    unknown = [name for name in [*(options.only or []), *options.without] if name not in names]
    if unknown:
        print(f"measure.py: no subject has the name {', '.join(unknown)}; names: {', '.join(names)}", file=sys.stderr)
        sys.exit(2)
    return [name for name in names if (options.only is None or name in options.only) and name not in options.without]


def compile_with(tool, program, sources, command):
    """Runs the compiler, unless the program is newer than its sources."""
    if program.exists() and program.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    path_of(tool)
    command = [str(word) for word in command]
    try:
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=BUILD_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Failure(f"{tool} has not finished after {BUILD_SECONDS_MAX} s") from None
    if result.returncode != 0:
        raise Failure(f"{tool} failed: {result.stderr.strip()}")
    # cargo leaves a program untouched if it is up to date.
    program.touch()


def path_of(tool):
    path = shutil.which(tool)
    if path is None:
        raise Missing(f"'{tool}' is not installed")
    return path
