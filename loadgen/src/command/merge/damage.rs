//! Damaged results: each is refused with an error, or printed and added like any other one, without a panic, without a hang and
//! in bounded memory.

use std::{
    fmt::Write as _,
    io,
    path::Path,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::*;
use crate::{
    command::compare::against::tests::held,
    format::{
        FORMATS, hdr,
        json::{self, ReadError},
        screen::Screen,
    },
    protocol::cases::cases,
    result::{
        comparison, sweep,
        tests::{example, with_failures, with_intervals},
    },
};

/// More than any report of the examples takes.
const PRINTED_BYTES_MAX: usize = 16 << 20;
/// A guard against a hang, not a limit of speed: each result takes milliseconds.
const HANG: Duration = Duration::from_secs(20);

/// An output that holds a bounded report.
#[derive(Default)]
struct Bounded(usize);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        assert!(self.0 < PRINTED_BYTES_MAX, "the report does not end");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Results of every kind.
fn documents() -> Vec<(&'static str, Document)> {
    let run = |report: Report| Document::Run(Box::new(report));
    let merged = || {
        let mut sum = Sum::default();
        for (name, seed) in [("a.json", 1), ("b.json", 2)] {
            let mut part = with_intervals();
            part.plan.seed = seed;
            part.started_at_unix_ms += seed;
            sum.add(name.to_owned(), part).expect("they are parts of one load");
        }
        sum.finish(&Expectations::default()).expect("they are parts of one load")
    };
    vec![
        ("run", run(example())),
        ("run with failures", run(with_failures())),
        ("run with intervals", run(with_intervals())),
        ("merged run", run(merged())),
        ("comparison", Document::Comparison(Box::new(comparison::tests::example()))),
        ("comparison against", Document::Comparison(Box::new(held()))),
        ("sweep", Document::Sweep(Box::new(sweep::tests::example()))),
    ]
}

fn text(document: &Document) -> String {
    let mut text = Vec::new();
    json::write_line(document, &mut text).expect("memory has room");
    String::from_utf8(text).expect("JSON is text")
}

/// Reads a text, and does with the result what commands do with one.
fn use_text(text: &str, what: &dyn Fn() -> String) -> Result<(), ReadError> {
    let began = Instant::now();
    let document = json::read(text)?;
    for format in FORMATS {
        // A format may refuse a value, but does not panic.
        let _refused = (format.write)(&document, Screen::FILE, &mut Bounded::default());
    }
    if let Document::Run(report) = document {
        for several in FORMATS.iter().filter_map(|format| format.several.as_ref()) {
            let both = [("a".to_owned(), (*report).clone()), ("b".to_owned(), example())];
            let _refused = (several.write)(&both, Screen::FILE, &mut Bounded::default());
        }
        let _refused = hdr::files(Path::new("a"), &report);
        let mut other = example();
        other.plan.seed = 99;
        let mut sum = Sum::default();
        let added = sum.add("a".to_owned(), *report).and_then(|()| sum.add("b".to_owned(), other));
        if let Ok(whole) = added.and_then(|()| sum.finish(&Expectations::default())) {
            for format in FORMATS {
                let document = Document::Run(Box::new(whole.clone()));
                let _refused = (format.write)(&document, Screen::FILE, &mut Bounded::default());
            }
        }
    }
    assert!(began.elapsed() < HANG, "{} takes {:?}", what(), began.elapsed());
    Ok(())
}

/// The path of every value, with only the first and the last element of a list.
fn paths(value: &Value, path: &mut String, found: &mut Vec<String>) {
    found.push(path.clone());
    let length = path.len();
    let mut descend = |key: &str, value: &Value| {
        write!(path, "/{}", key.replace('~', "~0").replace('/', "~1")).expect("memory has room");
        paths(value, path, found);
        path.truncate(length);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| descend(key, value)),
        Value::Array(values) => {
            for index in [0, values.len().wrapping_sub(1)] {
                if let Some(value) = values.get(index) {
                    descend(&index.to_string(), value);
                }
            }
        }
        _ => {}
    }
}

/// The text of a result with another text in the place of the value at a path.
fn replaced(document: &Value, path: &str, by: &str) -> String {
    const PLACE: &str = "@@";
    let mut changed = document.clone();
    *changed.pointer_mut(path).expect("the path is of this result") = Value::String(PLACE.to_owned());
    changed.to_string().replacen(&format!("\"{PLACE}\""), by, 1)
}

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "0.5",
    "9007199254740993",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "5e-324",
    "-0.0",
];

const OTHERS: [&str; 10] = [
    "null",
    "1e400",
    "NaN",
    "\"x\"",
    "\"\"",
    "\"\\u0000\\ud800\"",
    "[]",
    "{}",
    "true",
    "[[[[{\"a\":[null]}]]]]",
];

#[test]
fn a_value_of_any_kind_in_any_place_is_refused_or_used() {
    // All of them take minutes: by default every few of them, and a prime step visits every kind of value.
    let step = if std::env::var_os("PROPTEST_CASES").is_some() { 1 } else { 23 };
    let (mut used, mut refused, mut number) = (0, 0, 0);
    for (name, document) in documents() {
        let value: Value = serde_json::from_str(&text(&document)).expect("it is JSON");
        let mut all = Vec::new();
        paths(&value, &mut String::new(), &mut all);
        // The reports inside a comparison and a sweep are those of runs: one of them is enough.
        let is_repeated = |path: &str| name != "run" && path.matches('/').count() > 5;
        for path in all.iter().filter(|path| !path.is_empty() && !is_repeated(path)) {
            let place = value.pointer(path).expect("it is one of its paths");
            let others = OTHERS.iter().chain(NUMBERS.iter().filter(|_| place.is_number() || place.is_null()));
            for by in others {
                number += 1;
                if number % step != 0 {
                    continue;
                }
                let what = || format!("{name} with {path} = {by}");
                match use_text(&replaced(&value, path, by), &what) {
                    Ok(()) => used += 1,
                    Err(error) => {
                        assert!(!error.to_string().is_empty() && error != ReadError::Truncated, "{}", what());
                        refused += 1;
                    }
                }
            }
        }
    }
    // Both branches have been taken often.
    assert!(used > 100 && refused > 100, "{used} used, {refused} refused");
}

#[test]
fn a_removed_field_is_optional_or_named() {
    let step = if std::env::var_os("PROPTEST_CASES").is_some() { 1 } else { 7 };
    let (mut optional, mut named) = (0, 0);
    for (name, document) in documents() {
        let value: Value = serde_json::from_str(&text(&document)).expect("it is JSON");
        let mut all = Vec::new();
        paths(&value, &mut String::new(), &mut all);
        for path in all.iter().step_by(step) {
            let Some((parent, key)) = path.rsplit_once('/') else { continue };
            let mut changed = value.clone();
            let Some(Value::Object(fields)) = changed.pointer_mut(parent) else { continue };
            fields.remove(&key.replace("~1", "/").replace("~0", "~"));
            match use_text(&changed.to_string(), &|| format!("{name} without {path}")) {
                Ok(()) => optional += 1,
                // Without these, it is another kind of document.
                Err(_) if ["/schema", "/kind"].contains(&path.as_str()) => {}
                Err(ReadError::NoField(field)) => {
                    assert_eq!(field, key, "{name} without {path}");
                    named += 1;
                }
                Err(error) => panic!("{name} without {path}: {error:?}"),
            }
        }
    }
    assert!(optional > 10 && named > 30, "{optional} optional, {named} named");
}

#[test]
fn a_doubled_field_is_refused() {
    for (name, document) in documents() {
        let whole = text(&document);
        let doubled = whole.replacen("\"plan\":", "\"plan\":{},\"plan\":", 1);
        assert_ne!(doubled, whole, "{name}");
        assert!(use_text(&doubled, &|| name.to_owned()).is_err(), "{name}");
    }
}

#[test]
fn a_result_that_is_cut_off_at_any_byte_says_so() {
    for (name, document) in documents() {
        let whole = text(&document);
        // A comparison is long: a prime step visits every kind of place.
        let step = if whole.len() > 20_000 { 97 } else { 1 };
        for length in
            (1..whole.trim_end().len()).step_by(step).filter(|length| whole.is_char_boundary(*length))
        {
            assert_eq!(json::read(&whole[..length]).err(), Some(ReadError::Truncated), "{name}: {length}");
        }
        assert!(json::read(whole.trim_end()).is_ok());
    }
}

#[test]
fn deep_nesting_and_long_lists_are_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for text in [nested.clone(), format!("{{\"schema\":1,\"x\":{nested}}}"), open.repeat(100_000)] {
            assert!(json::read(&text).is_err());
        }
    }
    let long = format!("{{\"schema\":1,\"verdict\":[{}0]}}", "0,".repeat(1_000_000));
    assert!(json::read(&long).is_err());
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn random_garbage_and_random_changes_are_refused_or_used(
        garbage in "[ -~\\n\u{e9}]{0,200}",
        tokens in vec(prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"schema\"", "1", "\"", "null", "1e999", "\\"]), 0..40),
        changes in vec((any::<prop::sample::Index>(), 0..5_u8, prop::sample::select(b"0123456789-+.eE\"{}[]:,tfn\\ ".to_vec())), 1..4),
        kind in any::<prop::sample::Index>(),
    ) {
        let all = documents();
        let (name, document) = &all[kind.index(all.len())];
        let mut bytes = text(document).into_bytes();
        for (at, change, byte) in &changes {
            let at = at.index(bytes.len());
            match change {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                2 => drop(bytes.remove(at)),
                3 => bytes.truncate(at.max(1)),
                _ => bytes.extend_from_within(at..),
            }
        }
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        for text in [garbage, tokens.concat(), changed] {
            if let Err(error) = use_text(&text, &|| format!("{name}: {changes:?}")) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
