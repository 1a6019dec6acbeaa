use std::io::BufReader;

use super::*;
use crate::{
    format::screen::Screen,
    result::{Report, comparison, sweep, tests::example},
};

/// A result in this format, with this seed.
fn result(format: &str, seed: u64) -> String {
    let report = Report { plan: crate::result::PlanSummary { seed, ..example().plan }, ..example() };
    printed(format, &Document::Run(Box::new(report)))
}

fn printed(format: &str, document: &Document) -> String {
    let mut text = Vec::new();
    (crate::format::format(format).unwrap().write)(document, Screen::FILE, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The line of a result, and its seed.
type Place = (u64, Result<u64, ReadError>);

/// The line and the seed or the error of each result in a text, and the other lines.
fn read(text: impl AsRef<[u8]>) -> (Vec<Place>, Foreign) {
    let mut all = Vec::new();
    // Lines are longer than a read.
    let mut results = Results::new(BufReader::with_capacity(7, text.as_ref()));
    while let Some(Found { line, document }) = results.next().unwrap() {
        let seed = |document| match document {
            Document::Run(report) => report.plan.seed,
            Document::Comparison(_) | Document::Sweep(_) => 0,
        };
        all.push((line, document.map(seed)));
    }
    (all, results.foreign().clone())
}

fn lines(text: &str) -> u64 {
    text.lines().count() as u64
}

#[test]
fn results_are_found_one_after_another_in_both_layouts() {
    for format in ["json", "jsonl"] {
        let one = result(format, 1);
        let text = [one.as_str(), &result(format, 2), &result(format, 3)].concat();
        let each = lines(&one);
        let expected = vec![(1, Ok(1)), (1 + each, Ok(2)), (1 + 2 * each, Ok(3))];
        assert_eq!(read(&text), (expected.clone(), Foreign::default()));
        // As a terminal in a container ends its lines, and without an end of the last line.
        assert_eq!(read(text.replace('\n', "\r\n")).0, expected);
        assert_eq!(read(text.trim_end()).0, expected);
    }
    let other = [
        printed("jsonl", &Document::Comparison(Box::new(comparison::tests::example()))),
        printed("json", &Document::Sweep(Box::new(sweep::tests::example()))),
    ];
    assert_eq!(read(other.concat()).0, [(1, Ok(0)), (2, Ok(0))]);
    assert_eq!(read(""), (Vec::new(), Foreign::default()));
}

#[test]
fn other_lines_are_skipped_and_counted() {
    let (pretty, line) = (result("json", 1), result("jsonl", 2));
    let text = format!(
        "\x1b[1mstarted\x1b[0m \"loadgen\"\n\n{pretty}{{\"level\":\"info\",\"schema\":\"x\"}}\n{{\n  \"a\": 1\n}}\n{line}[]\n"
    );
    let (results, foreign) = read([text.as_bytes(), b"\xff\n"].concat());
    let first = 3;
    assert_eq!(results, [(first, Ok(1)), (first + lines(&pretty) + 4, Ok(2))]);
    let shown = r#"\u{1b}[1mstarted\u{1b}[0m "loadgen""#.to_owned();
    assert_eq!(foreign, Foreign { count: 7, first: Some((1, shown)), has_prefix: false });
    let long = "x".repeat(100_000);
    let (_, foreign) = read(format!("{long}\n{line}"));
    assert_eq!(foreign.first, Some((1, format!("{}…", &long[..SHOWN_CHARS_MAX]))));
    // Standard error and standard output end in one log.
    let (head, rest) = pretty.split_at(pretty.find("\n  \"plan\"").unwrap());
    let mixed = format!("{head}\n12 s: 3,000 replies/s{rest}");
    assert_eq!(read(&mixed).0, [(1, Ok(1))]);
    assert_eq!(read(&mixed).1.count, 1);
}

#[test]
fn the_prefix_of_a_log_is_recognised() {
    for format in ["json", "jsonl"] {
        for prefix in ["load.1.x@host    | ", "[pod/load-0-x/loadgen] "] {
            let text: String = result(format, 1).lines().map(|line| format!("{prefix}{line}\n")).collect();
            let (results, foreign) = read(&text);
            assert_eq!((results.len(), foreign.count, foreign.has_prefix), (0, lines(&text), true), "{text}");
        }
    }
}

#[test]
fn a_result_that_is_cut_off_does_not_hide_the_next_one() {
    for format in ["json", "jsonl"] {
        let (one, two) = (result(format, 1), result(format, 2));
        for share in [30, one.len() / 3, one.len() / 2, one.len() - 3] {
            let text = format!("{}\n{two}", &one[..share]);
            let (results, foreign) = read(&text);
            let next = 1 + lines(&one[..share]);
            assert_eq!(results[0], (1, Err(ReadError::Truncated)), "{format} {share}");
            assert_eq!((results[1].clone(), results.len(), foreign.count), ((next, Ok(2)), 2, 0));
            assert_eq!(read(&one[..share]).0, [(1, Err(ReadError::Truncated))]);
        }
    }
    // Its beginning is lost, as in a log that was rotated.
    let (one, two) = (result("jsonl", 1), result("jsonl", 2));
    let (results, foreign) = read(format!("{}{two}", &one[one.len() / 2..]));
    assert_eq!((results, foreign.count), (vec![(2, Ok(2))], 1));
}

#[test]
fn a_broken_result_is_an_error_and_an_object_of_another_program_is_not() {
    let one = result("jsonl", 1);
    let cases = [
        (one.replace("\"schema\":1", "\"schema\":9"), Some(ReadError::Schema(9))),
        (one.replace("elapsed_s", "elapsed"), Some(ReadError::NoField("elapsed_s".to_owned()))),
        (one.replacen(":[", ":[,", 1), Some(ReadError::NotJson)),
        ("{\"schema\"".to_owned(), Some(ReadError::Truncated)),
        ("{\"schema\": 1, ".to_owned(), Some(ReadError::Truncated)),
        ("{\"schema\": \"x".to_owned(), None),
        ("{\"level\": \"in".to_owned(), None),
        ("{".to_owned(), None),
        ("{}".to_owned(), None),
    ];
    for (text, error) in cases {
        let (results, foreign) = read(&text);
        let expected: Vec<_> = error.into_iter().map(|error| (1, Err(error))).collect();
        assert_eq!(foreign.count, u64::from(expected.is_empty()), "{text}");
        assert_eq!(results, expected, "{text}");
    }
    let mut bytes = result("jsonl", 1).into_bytes();
    let at = bytes.len() / 2;
    bytes[at] = 0xff;
    assert_eq!(read(bytes).0, [(1, Err(ReadError::NotJson))]);
}
