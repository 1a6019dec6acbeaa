#!/usr/bin/env python3
"""Mutation testing of loadgen's pure parts in one build.

`cargo mutants` builds the tests once for each mutant: about 3,000 mutants take many hours. This program takes the same list of
mutants (`cargo mutants --list --json`), writes all of them into one copy of the sources, each behind a switch, builds the unit
tests once, and runs them with one mutant switched on at a time. A mutant is caught if a test fails or does not end.

    python3 -m venv target/python && target/python/bin/pip install tree-sitter tree-sitter-rust
    cargo install cargo-mutants --locked
    target/python/bin/python3 tests/mutants.py            # all of them: survivors on stdout, details in target/mutants
    target/python/bin/python3 tests/mutants.py --only judge/verdict
    target/python/bin/python3 tests/mutants.py --again target/mutants/survivors.json

A mutant that does not compile is not counted. One that this program cannot write is counted as "not tried".
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import tree_sitter
import tree_sitter_rust

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants" / "sources"
RUST = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
# The switch. Tests of a mutant run in a process of their own, so it is read once.
SWITCH = """
/// Whether the mutant with this number is switched on.
#[inline(never)]
pub(crate) fn mutant(number: u32) -> bool {
    static ON: std::sync::LazyLock<Option<u32>> =
        std::sync::LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()));
    *ON == Some(number)
}
"""
# A hung mutant is caught after this time, and one that allocates without end at this much memory.
SECONDS_MAX = 120
MEMORY_MAX = 6 << 30


def main():
    arguments = parse()
    mutants = listed(arguments)
    viable, untried = build(mutants)
    binary = compiled()
    outcomes = run(binary, viable, arguments.jobs)
    report(viable, outcomes, untried, len(mutants) - len(viable) - len(untried))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="take only mutants whose name contains this text")
    parser.add_argument("--again", type=pathlib.Path, help="take only mutants of this list, which an earlier run has written")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    return parser.parse_args()


def listed(arguments):
    """The mutants, by number."""
    command = ["cargo", "mutants", "--list", "--json", "--colors", "never"]
    listing = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    if arguments.only:
        listing = [mutant for mutant in listing if arguments.only in mutant["name"]]
    if arguments.again:
        names = {without_place(mutant["name"]) for mutant in json.loads(arguments.again.read_text())}
        listing = [mutant for mutant in listing if without_place(mutant["name"]) in names]
    return dict(enumerate(listing, start=1))


def without_place(name):
    """A mutant's name without line and column, which change with every edit above it."""
    return re.sub(r":\d+:\d+:", ":", name, count=1)


class Source:
    """A file with its mutants written into it."""

    def __init__(self, path, mutants):
        self.text = (ROOT / path).read_bytes()
        starts = [0]
        for line in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.at = collections.defaultdict(list)
        lines = self.text.decode().splitlines()
        for number, mutant in mutants.items():
            start = mutant["span"]["start"]
            column = len(lines[start["line"] - 1][: start["column"] - 1].encode())
            self.at[mutant["genre"], starts[start["line"] - 1] + column].append((number, mutant["replacement"]))
        self.written = set()

    def render(self):
        return self.node(RUST.parse(self.text).root_node)

    def take(self, genre, offset):
        """The mutants of a kind that begin at this byte."""
        taken = self.at.get((genre, offset), [])
        self.written.update(number for number, _ in taken)
        return taken

    def node(self, node):
        body = self.changed(node)
        if node.parent is not None and node.parent.type == "block" and self.is_first(node):
            for number, replacement in self.take("FnValue", node.start_byte):
                body = f"\nif crate::mutant({number}) {{ return {replacement}; }}\n{body}"
        return body

    @staticmethod
    def is_first(node):
        previous = node.prev_sibling
        while previous is not None and "comment" in previous.type:
            previous = previous.prev_sibling
        return previous is not None and previous.type in "{"

    def changed(self, node):
        if node.type in ("binary_expression", "compound_assignment_expr"):
            left, operator, right = (node.child_by_field_name(name) for name in ("left", "operator", "right"))
            choices = self.take("BinaryOperator", operator.start_byte)
            if choices:
                left, right = self.node(left), self.node(right)
                original = f"({left} {operator.text.decode()} {right})"
                return self.choose([(n, f"({left} {other} {right})") for n, other in choices], original)
        if node.type == "unary_expression":
            choices = self.take("UnaryOperator", node.start_byte)
            if choices:
                operand = self.node(node.children[-1])
                original = f"({node.children[0].text.decode()}{operand})"
                return self.choose([(n, f"({other}{operand})") for n, other in choices], original)
        if node.type == "match_arm":
            return self.arm(node)
        if node.type in ("field_initializer", "shorthand_field_initializer"):
            return self.field(node)
        return self.children(node)

    @staticmethod
    def choose(choices, original):
        tests = "".join(f"\nif crate::mutant({number}) {{ {other} }} else " for number, other in choices)
        return f"({tests}\n{{ {original} }}\n)"

    def arm(self, node):
        deleted = self.take("MatchArm", node.start_byte)
        pattern = node.child_by_field_name("pattern")
        guard = pattern.child_by_field_name("condition")
        replaced = self.take("MatchArmGuard", guard.start_byte) if guard else []
        if deleted and not self.has_catch_all(node):
            self.written.difference_update(number for number, _ in deleted)
            deleted = []
        if not deleted and not replaced:
            return self.children(node)
        is_chain = guard is not None and guard.type in ("let_condition", "let_chain")
        if is_chain:
            self.written.difference_update(number for number, _ in deleted + replaced)
            return self.children(node)
        condition = f"({self.node(guard)})" if guard else "true"
        condition = self.choose(replaced, condition) if replaced else condition
        for number, _ in deleted:
            condition = f"({condition}\n&& !crate::mutant({number})\n)"
        names = self.text[pattern.start_byte : guard.start_byte].decode() if guard else f"{pattern.text.decode()} if"
        rest = "".join(self.gap(child) + self.node(child) for child in node.children if child.start_byte > pattern.start_byte)
        return f"{names} {condition} {rest}"

    @staticmethod
    def has_catch_all(arm):
        """Whether a match without this arm is exhaustive for sure: another arm takes everything."""
        patterns = [
            other.child_by_field_name("pattern").text.decode()
            for other in arm.parent.children
            if other.type == "match_arm" and other.start_byte != arm.start_byte
        ]
        return any(re.fullmatch(r"_|[a-z][a-z0-9_]*", pattern) for pattern in patterns)

    def field(self, node):
        deleted = self.take("StructField", node.start_byte)
        base = next((child for child in node.parent.children if child.type == "base_field_initializer"), None)
        if not deleted or base is None:
            self.written.difference_update(number for number, _ in deleted)
            return self.children(node)
        name = node.children[0].text.decode()
        value = node.child_by_field_name("value")
        value = self.node(value) if value else name
        other = base.children[-1].text.decode()
        return f"{name}: {self.choose([(n, f'({other}).{name}') for n, _ in deleted], value)}"

    def gap(self, node):
        """What stands between a node and the one before it."""
        previous = node.prev_sibling
        return self.text[previous.end_byte : node.start_byte].decode() if previous else ""

    def children(self, node):
        if not node.children:
            return node.text.decode()
        parts, at = [], node.start_byte
        for child in node.children:
            parts += [self.text[at : child.start_byte].decode(), self.node(child)]
            at = child.end_byte
        return "".join(parts) + self.text[at : node.end_byte].decode()


def build(mutants):
    """Writes the mutants that compile into a copy of the sources. Returns them, and those that cannot be written."""
    for folder in ("common", "loadgen", "server", "tests"):
        shutil.copytree(ROOT / folder, COPY / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Cargo.toml", "Cargo.lock", "clippy.toml", "rustfmt.toml"):
        shutil.copy(ROOT / file, COPY / file)
    library = COPY / "loadgen" / "src" / "lib.rs"
    library.write_text((ROOT / "loadgen" / "src" / "lib.rs").read_text() + SWITCH)
    files = sorted({mutant["file"] for mutant in mutants.values()})
    viable, untried = dict(mutants), {}
    while True:
        for file in files:
            source = Source(file, {n: mutant for n, mutant in viable.items() if mutant["file"] == file})
            text = source.render()
            (COPY / file).write_text(text)
            for number in [n for n, mutant in viable.items() if mutant["file"] == file and n not in source.written]:
                untried[number] = viable.pop(number)
        bad = wrong()
        print(f"{len(viable)} mutants written, {len(bad)} of them do not compile", file=sys.stderr)
        if not bad:
            return viable, untried
        for number in bad:
            viable.pop(number)


def cargo(*options):
    command = ["cargo", *options, "--package", "loadgen", "--lib", "--offline", "--message-format=json"]
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(ROOT / "target" / "mutants" / "build"),
        "CARGO_PROFILE_DEV_DEBUG": "false",
        "RUSTFLAGS": "--cap-lints=allow",
    }
    done = subprocess.run(command, cwd=COPY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, messages


def wrong():
    """The mutants that do not compile."""
    done, messages = cargo("check", "--profile", "test")
    if done.returncode == 0:
        return set()
    bad = set()
    for message in messages:
        if message["reason"] != "compiler-message" or message["message"]["level"] != "error":
            continue
        spans = message["message"]["spans"]
        for span in [span for span in spans if span["is_primary"]] or spans:
            found = mutants_near(span)
            bad |= found
    if not bad:
        sys.exit(done.stderr + "".join(m["message"]["rendered"] for m in messages if m["reason"] == "compiler-message"))
    return bad


def mutants_near(span):
    """The mutants on the lines of a span, or those on the nearest line above it."""
    path = COPY / span["file_name"]
    lines = path.read_text().splitlines()
    switches = lambda line: {int(number) for number in re.findall(r"crate::mutant\((\d+)\)", line)}
    found = switches(lines[span["line_start"] - 1])
    at = span["line_start"] - 2
    while not found and at >= 0:
        found = switches(lines[at])
        at -= 1
    return found


def compiled():
    done, messages = cargo("test", "--no-run")
    if done.returncode != 0:
        sys.exit(done.stderr)
    return next(m["executable"] for m in messages if m["reason"] == "compiler-artifact" and m.get("executable"))


# The folder of a mutant first, as its own tests most often catch it; then all others that may.
EVERYWHERE = ["judge::", "result::", "load::", "command::", "format::", "protocol::", "engine::"]
# They print reports at hundreds of widths.
SLOW = ["--skip=format::text", "--skip=format::html"]


def filters(mutant):
    folder = pathlib.Path(mutant["file"]).relative_to("loadgen/src").parts
    own = f"{folder[0]}::" if folder[0] != "command" else f"command::{folder[1].removesuffix('.rs')}::"
    return [[own], EVERYWHERE]


def tests_pass(binary, number, names):
    environment = os.environ | {"MUTANT": str(number), "PROPTEST_CASES": "32", "INSTA_UPDATE": "no"}
    command = ["prlimit", f"--as={MEMORY_MAX}", binary, "--quiet", *SLOW, *names]
    try:
        done = subprocess.run(
            command, cwd=COPY / "loadgen", env=environment, timeout=SECONDS_MAX,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def run(binary, mutants, jobs):
    """Whether each mutant is caught."""
    for names in {tuple(names) for mutant in mutants.values() for names in filters(mutant)}:
        if not tests_pass(binary, 0, names):
            sys.exit(f"without a mutant, tests fail: {' '.join(names)}")
    outcomes = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        def caught(number):
            return not all(tests_pass(binary, number, names) for names in filters(mutants[number]))
        for number, is_caught in zip(mutants, pool.map(caught, mutants)):
            outcomes[number] = is_caught
            if not is_caught:
                print(mutants[number]["name"], flush=True)
    return outcomes


def report(mutants, outcomes, untried, unviable):
    survivors = [mutants[number] for number, is_caught in outcomes.items() if not is_caught]
    (COPY.parent / "survivors.json").write_text(json.dumps(survivors, indent=1))
    folders = collections.defaultdict(lambda: [0, 0])
    for number, is_caught in outcomes.items():
        parts = pathlib.Path(mutants[number]["file"]).relative_to("loadgen/src").parts
        folder = "/".join(parts[:2]) if parts[0] == "command" else parts[0]
        folders[folder.removesuffix(".rs")][is_caught] += 1
    print("\n| folder | mutants | caught | share |\n|---|---:|---:|---:|")
    rows = [*sorted(folders.items()), ("all", [sum(c[i] for c in folders.values()) for i in (0, 1)])]
    for folder, (missed, caught) in rows:
        print(f"| {folder} | {missed + caught} | {caught} | {100 * caught / (missed + caught):.1f}% |")
    print(f"\n{unviable} do not compile, {len(untried)} were not tried.")


if __name__ == "__main__":
    main()
