#!/usr/bin/env python3
"""Mutation testing of loadgen's pure parts in one build.

`cargo mutants` builds the tests once for each mutant: about 3,000 mutants take many hours. This program takes the same list of
mutants (`cargo mutants --list --json`), writes all of them into one copy of the sources, each behind a switch, builds the unit
tests once, and runs those that reach a mutant with this mutant switched on. A mutant is caught if a test fails or does not end.

    python3 -m venv target/python && target/python/bin/pip install tree-sitter tree-sitter-rust
    cargo install cargo-mutants --locked
    target/python/bin/python3 tests/mutants.py            # all of them: survivors on stdout, details in target/mutants
    target/python/bin/python3 tests/mutants.py --only judge/verdict
    target/python/bin/python3 tests/mutants.py --sample 500   # a random sample, and the 95% interval of the share
    target/python/bin/python3 tests/mutants.py --again target/mutants/survivors.json

A mutant that does not compile behind its switch is not counted. One that this program cannot write is counted as "not tried".
"""

import argparse
import collections
import concurrent.futures
import json
import os
import math
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
import zlib

import tree_sitter
import tree_sitter_rust

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants" / "sources"
RUST = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
# The switch, and for each test a record of the mutants that it reaches.
SWITCH = """
/// Whether the mutant with this number is switched on. The environment is read once: each mutant has a process of its own.
#[inline(never)]
pub(crate) fn mutant(number: u32) -> bool {
    use std::{env, fs::File, io::Write, sync::LazyLock, sync::atomic::{AtomicBool, Ordering::Relaxed}};
    static ON: LazyLock<Option<u32>> = LazyLock::new(|| env::var("MUTANT").ok().and_then(|text| text.parse().ok()));
    static REACHED: LazyLock<Option<File>> = LazyLock::new(|| env::var_os("REACHED").map(|path| File::create(path).unwrap()));
    static SEEN: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
    if let Some(mut file) = REACHED.as_ref() && !SEEN[number as usize].swap(true, Relaxed) {
        file.write_all(format!("{number} ").as_bytes()).unwrap();
    }
    *ON == Some(number)
}
"""
# Tests run in processes of at least this length without a mutant: a mutant is caught when the first one fails.
GROUP_SECONDS = 0.2
# A test that takes longer without a mutant is left out.
TEST_SECONDS_MAX = 10
# A mutant is caught if its tests take ten times as long as without it, and this time on top, or if they ask for this much memory.
EXTRA_SECONDS_MAX = 5
MEMORY_MAX = 3 << 30


def main():
    arguments = parse()
    mutants = listed(arguments)
    viable, untried, binary = build(mutants, arguments.opt_level)
    tests = measured(binary, arguments.jobs)
    outcomes = run(binary, sampled(viable, arguments), tests, arguments.jobs)
    report(viable, outcomes, untried, len(mutants) - len(viable) - len(untried))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="take only mutants whose name contains this text")
    parser.add_argument("--again", type=pathlib.Path, help="take only mutants of this list, which an earlier run has written")
    parser.add_argument("--sample", type=int, help="try only this number of mutants, chosen at random")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument("--opt-level", type=int, default=1, help="0 compiles faster, but tests take 6 times as long")
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


def sampled(mutants, arguments):
    if arguments.sample is None or arguments.sample >= len(mutants):
        return mutants
    numbers = random.Random(arguments.seed).sample(sorted(mutants), arguments.sample)
    return {number: mutants[number] for number in numbers}


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


def build(mutants, opt_level):
    """Builds the tests with the mutants that compile. Returns these mutants, those that cannot be written, and the program."""
    for folder in ("common", "loadgen", "server", "tests"):
        shutil.copytree(ROOT / folder, COPY / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Cargo.toml", "Cargo.lock", "clippy.toml", "rustfmt.toml"):
        shutil.copy(ROOT / file, COPY / file)
    library = COPY / "loadgen" / "src" / "lib.rs"
    library.write_text((ROOT / "loadgen" / "src" / "lib.rs").read_text() + SWITCH.replace("COUNT", str(len(mutants) + 1)))
    viable, untried = dict(mutants), {}
    known = Unviable()
    for number in [number for number, mutant in mutants.items() if mutant in known]:
        viable.pop(number)
    while True:
        for file in sorted({mutant["file"] for mutant in mutants.values()}):
            source = Source(file, {n: mutant for n, mutant in viable.items() if mutant["file"] == file})
            text = source.render()
            if (COPY / file).read_text() != text:
                (COPY / file).write_text(text)
            for number in [n for n, mutant in viable.items() if mutant["file"] == file and n not in source.written]:
                untried[number] = viable.pop(number)
        binary, bad = compiled(opt_level)
        print(f"{len(viable)} mutants written, {len(bad)} of them do not compile", file=sys.stderr)
        if binary:
            return viable, untried, binary
        for number, code in bad.items():
            mutant = viable.pop(number)
            if code == CALL_IN_CONST:
                untried[number] = mutant
            else:
                known.add(mutant)


class Unviable:
    """The mutants of which earlier runs know that they do not compile. They are forgotten when their file changes."""

    PATH = COPY.parent / "unviable.json"

    def __init__(self):
        self.known = set(json.loads(self.PATH.read_text())) if self.PATH.exists() else set()

    @staticmethod
    def key(mutant):
        return f"{zlib.crc32((ROOT / mutant['file']).read_bytes())} {mutant['name']}"

    def __contains__(self, mutant):
        return self.key(mutant) in self.known

    def add(self, mutant):
        self.known.add(self.key(mutant))
        self.PATH.write_text(json.dumps(sorted(self.known), indent=1))


# A switch in a constant: the mutant may compile, but not behind a switch.
CALL_IN_CONST = "E0015"


def compiled(opt_level):
    """The program, or the mutants that do not compile with the codes of their errors."""
    command = ["cargo", "test", "--no-run", "--package", "loadgen", "--lib", "--offline", "--message-format=json"]
    command += ["--config", f"profile.dev.package.loadgen.opt-level={opt_level}"]
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(ROOT / "target" / "mutants" / "build"),
        "CARGO_PROFILE_DEV_DEBUG": "false",
        "RUSTFLAGS": "--cap-lints=allow",
    }
    done = subprocess.run(command, cwd=COPY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0:
        return next(m["executable"] for m in messages if m["reason"] == "compiler-artifact" and m.get("executable")), {}
    bad = {}
    for message in [m["message"] for m in messages if m["reason"] == "compiler-message" and m["message"]["level"] == "error"]:
        code = (message["code"] or {}).get("code")
        spans = message["spans"]
        for span in [span for span in spans if span["is_primary"]] or spans:
            bad.update((number, code) for number in mutants_near(span))
    if not bad:
        sys.exit(done.stderr + "".join(m["message"]["rendered"] for m in messages if m["reason"] == "compiler-message"))
    return None, bad


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


def measured(binary, jobs):
    """The time of each test in seconds, and the mutants that it reaches."""
    names = [line.removesuffix(": test") for line in tests_of(binary, 0, ["--list"]).stdout.splitlines() if line.endswith(": test")]
    folder = COPY.parent / "reached"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def measure(at, name):
        file = folder / str(at)
        start = time.monotonic()
        done = tests_of(binary, TEST_SECONDS_MAX, [name], REACHED=str(file))
        if done is None:
            return None
        if done.returncode != 0:
            sys.exit(f"without a mutant, a test fails: {name}\n{done.stdout}")
        reached = {int(number) for number in file.read_text().split()} if file.exists() else set()
        return time.monotonic() - start, reached

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        tests = dict(zip(names, pool.map(measure, range(len(names)), names)))
    print("left out, as slow:", *[name for name, test in tests.items() if test is None], file=sys.stderr)
    return {name: test for name, test in tests.items() if test}


def tests_of(binary, seconds_max, arguments, **variables):
    """Runs tests by their exact names. None if they take too long."""
    environment = os.environ | {"PROPTEST_CASES": "32", "PROPTEST_RNG_SEED": "1", "INSTA_UPDATE": "no"} | variables
    command = ["prlimit", f"--as={MEMORY_MAX}", binary, "--exact", "--test-threads=1", *arguments]
    try:
        return subprocess.run(
            command, cwd=COPY / "loadgen", env=environment, timeout=seconds_max or None, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
    except subprocess.TimeoutExpired:
        return None


def groups(mutant, number, tests):
    """The tests that reach a mutant with their time: first those of its own module, then those of its folder, then all others."""
    path = pathlib.Path(mutant["file"]).relative_to("loadgen/src").with_suffix("")
    own, folder = ("::".join(path.parts[:end]) + "::" for end in (None, 2 if path.parts[0] == "command" else 1))
    reaching = {name: seconds for name, (seconds, reached) in tests.items() if number in reached}
    rank = lambda name: (not name.startswith(own), not name.startswith(folder), reaching[name])
    group, seconds = [], 0
    for name in sorted(reaching, key=rank):
        group.append(name)
        seconds += reaching[name]
        # libtest does not stop at the first failure.
        if seconds > GROUP_SECONDS:
            yield group, seconds
            group, seconds = [], 0
    if group:
        yield group, seconds


def run(binary, mutants, tests, jobs):
    """For each mutant, whether it is caught, and how many tests reach it."""
    outcomes = {}

    def caught(number):
        reaching = 0
        for names, seconds in groups(mutants[number], number, tests):
            reaching += len(names)
            done = tests_of(binary, 10 * seconds + EXTRA_SECONDS_MAX, names, MUTANT=str(number))
            if done is None or done.returncode != 0:
                return True, None
        return False, reaching

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for number, (is_caught, reaching) in zip(mutants, pool.map(caught, mutants)):
            outcomes[number] = is_caught
            if not is_caught:
                print(f"{mutants[number]['name']}: {reaching} tests reach it", flush=True)
            if len(outcomes) % 100 == 0:
                print(f"{len(outcomes)} of {len(mutants)} tried", file=sys.stderr)
    return outcomes


def wilson(caught, tried):
    """The 95% interval of a share (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927)."""
    z, share = 1.96, caught / tried
    middle = (share + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried)) / (1 + z * z / tried)
    return max(0, middle - half), min(1, middle + half)


def report(mutants, outcomes, untried, unviable):
    survivors = [mutants[number] for number, is_caught in outcomes.items() if not is_caught]
    (COPY.parent / "survivors.json").write_text(json.dumps(survivors, indent=1))
    folders = collections.defaultdict(lambda: [0, 0])
    for number, is_caught in outcomes.items():
        parts = pathlib.Path(mutants[number]["file"]).relative_to("loadgen/src").parts
        folder = "/".join(parts[:2]) if parts[0] == "command" else parts[0]
        folders[folder.removesuffix(".rs")][is_caught] += 1
    print("\n| folder | mutants | caught | share | 95% interval |\n|---|---:|---:|---:|---|")
    rows = [*sorted(folders.items()), ("all", [sum(c[i] for c in folders.values()) for i in (0, 1)])]
    for folder, (missed, caught) in rows:
        low, high = wilson(caught, missed + caught)
        print(f"| {folder} | {missed + caught} | {caught} | {caught / (missed + caught):.1%} | {low:.1%} to {high:.1%} |")
    print(f"\n{unviable} do not compile, {len(untried)} were not tried:")
    for mutant in untried.values():
        print(mutant["name"])


if __name__ == "__main__":
    main()
