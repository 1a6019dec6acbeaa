use std::collections::{BTreeMap, BTreeSet};

use super::*;

const AT: At = At { client: 7, request: 123_456_789_012, seed: 42 };

fn expand(template: &Template, at: At) -> String {
    let mut out = b"> ".to_vec();
    template.expand(&at, &mut out);
    String::from_utf8(out.split_off(2)).unwrap()
}

fn text(text: &str) -> String {
    expand(&Template::parse(text).unwrap(), AT)
}

fn value(field: &str, at: At) -> u64 {
    expand(&Template::parse(field).unwrap(), at).parse().unwrap()
}

/// Content with its length in front, as RESP has it.
fn counted(content: Template) -> Template {
    Template::sized(|length, out| out.extend_from_slice(format!("${length} ").as_bytes()), content)
}

fn words(template: &Template) -> Result<Vec<String>, String> {
    Ok(template.words()?.iter().map(|word| expand(word, AT)).collect())
}

#[test]
fn escapes_and_braces_are_read_as_documented() {
    for (given, expected) in [
        ("", ""),
        ("GET key", "GET key"),
        (r"a\n\r\t\0\x41\x7e\\\'\x22z", "a\n\r\t\0A~\\'\"z"),
        (r"é\n", "é\n"),
        ("{client}", "7"),
        ("a{client}b{request}c", "a7b123456789012c"),
        // Braces of JSON, Lua, shells and patterns.
        (r#"{"id": "{client}", "n": {"m":{client}}}"#, r#"{"id": "7", "n": {"m":7}}"#),
        ("{}", "{}"),
        ("{ client }", "{ client }"),
        ("{1..5} {[a-z]} } {", "{1..5} {[a-z]} } {"),
        ("{client is here}", "{client is here}"),
        ("{user:{client}}", "{user:7}"),
        // Doubled braces make one; an odd one makes a field.
        ("{{client}}", "{client}"),
        ("{{name:x}}", "{name:x}"),
        ("{{{client}}}", "{7}"),
        ("{{{{client}}}}", "{{client}}"),
        ("{{client}", "{7"),
        ("{client}}", "7}"),
        ("{{ }}", "{{ }}"),
        // A hash tag of a Redis cluster, written in two ways.
        (r"\{{client}\}:key", "{7}:key"),
        (r"\{client}", "{client}"),
        ("{fill:20}", "The-Quick-Brown-Fox-"),
        ("{random:5..5} {zipf:9..9:1}", "5 9"),
    ] {
        assert_eq!(text(given), expected, "{given}");
    }
}

#[test]
fn an_error_names_the_place_and_what_to_write() {
    let known =
        "the fields are {client}, {request}, {random:1..1000}, {zipf:1..100k:0.99}, {fill:64} and {uuid}";
    for (given, expected) in [
        (
            "GET {key}",
            format!("{{key}} at byte 4 is no field: {known}; for this text itself, write {{{{key}}}}"),
        ),
        (
            "{Client:x}",
            format!(
                "{{Client:x}} at byte 0 is no field: {known}; for this text itself, write {{{{Client:x}}}}"
            ),
        ),
    ] {
        assert_eq!(Template::parse(given).unwrap_err().to_string(), expected);
    }
    for (given, expected) in [
        ("{client:1}", "{client:1} at byte 0: it has no setting: write {client}"),
        ("{random}", "{random} at byte 0: it needs a range, as in {random:1..1000}"),
        (
            "{random:}",
            "'' is no range: write its first and its last number with two dots between, as in 1..1000",
        ),
        ("{random:5}", "'5' is no range"),
        ("{random:a..5}", "'a' is not a count: write a whole number, as in 500, 20k or 1.5m"),
        ("{random:-1..5}", "'-1' is"),
        ("{random:1..9999999999999999}", "'9999999999999999' is over 10^15"),
        ("a{random:9..5}", "{random:9..5} at byte 1: the range ends before it begins: write 5..9"),
        ("{zipf}", "it needs a range and an exponent, as in {zipf:1..100k:0.99}"),
        ("{zipf:1..5}", "it needs an exponent after the range, as in {zipf:1..100k:0.99}"),
        ("{zipf:1..5:inf}", "the exponent 'inf' is no number over 0 and up to 100, as in 0.99"),
        ("{zipf:1..5:0}", "the exponent '0' is no number"),
        ("{zipf:1..5:100.1}", "the exponent '100.1' is no number"),
        ("{zipf:5..1:1}", "write 1..5"),
        ("{fill}", "it needs a number of bytes, as in {fill:64}"),
        ("{fill:0}", "the number of bytes must be from 1 to 67108864 (64 MiB)"),
        ("{fill:67108865}", "the number of bytes must be from 1 to 67108864 (64 MiB)"),
        ("x{fill:67108864}", "the text is longer than 67108864 bytes (64 MiB), the largest message"),
        (
            "a {random:1..5",
            "the field {random at byte 2 is not closed: add its closing brace, or write \\{random",
        ),
        ("{client", "the field {client at byte 0 is not closed"),
        (
            r"a\q",
            r#"\q at byte 1 is no escape: the escapes are \n, \r, \t, \0, \xHH (two hexadecimal digits), \\, \{, \}, \' and \"; write \\ for a backslash"#,
        ),
        (r"\x4", r"\x4 at byte 0 is no escape"),
        (r"\x+f", r"\x+f at byte 0 is no escape"),
        (r"é\é", r"\é at byte 2 is no escape"),
        ("a\\", "\\ at byte 1 is no escape"),
    ] {
        let error = Template::parse(given).unwrap_err().to_string();
        assert!(error.contains(expected), "{given}: {error}");
    }
}

/// These values pin the load: a later version must make the same requests from the same seed.
#[test]
fn a_seed_gives_these_values() {
    let all = "{random:1..1000} {random:1..1000} {zipf:1..1m:0.99} {zipf:10..20:2} {uuid}";
    let at = |client, request, seed| At { client, request, seed };
    let all = Template::parse(all).unwrap();
    let ats = [at(0, 0, 0), at(0, 1, 0), at(1, 0, 0), at(0, 0, 1), at(499, u64::MAX, u64::MAX)];
    assert_eq!(
        ats.map(|at| expand(&all, at)),
        [
            "139 972 40 15 dcb2f2d2-7efe-4dd9-8154-a23f21fad197",
            "184 626 81505 12 f1c769b4-9da6-4775-87b0-8ca5a05bff40",
            "503 581 57790 10 ee426e9f-a5ce-4ce3-b9ab-7e633b213cd6",
            "694 972 426864 10 75f3cd30-7610-48db-93e2-a28c39f3aa2d",
            "883 915 231343 10 4a9c507a-05ff-4cab-87ac-bd428b493d96",
        ]
    );
}

#[test]
fn a_uuid_has_version_4_and_the_variant_of_its_rfc() {
    let template = Template::parse("{uuid}").unwrap();
    let mut seen = BTreeSet::new();
    for request in 0..1000 {
        let uuid = expand(&template, At { request, ..AT });
        let hyphens: Vec<_> = uuid.match_indices('-').map(|(index, _)| index).collect();
        assert_eq!((uuid.len(), hyphens), (36, vec![8, 13, 18, 23]), "{uuid}");
        assert!(uuid[14..].starts_with('4') && uuid[19..].starts_with(['8', '9', 'a', 'b']), "{uuid}");
        assert!(seen.insert(uuid), "two are the same");
    }
}

#[test]
fn random_numbers_are_uniform_and_reach_both_ends() {
    let mut counts = BTreeMap::new();
    let template = Template::parse("{random:3..12}").unwrap();
    for request in 0..10_000 {
        for client in 0..10 {
            *counts.entry(expand(&template, At { client, request, seed: 1 })).or_insert(0_u32) += 1;
        }
    }
    // Ten numbers, so nine degrees of freedom: chi-square is over 27.9 once in 1000 seeds.
    let chi_square: f64 =
        counts.values().map(|count| (f64::from(*count) - 10_000.0).powi(2) / 10_000.0).sum();
    assert_eq!(counts.len(), 10, "{counts:?}");
    assert!(counts.contains_key("3") && counts.contains_key("12"), "{counts:?}");
    assert!(chi_square < 27.9, "{chi_square}: {counts:?}");
    let wide: Vec<_> = (0..1000).map(|request| value("{random:0..1m}", At { request, ..AT })).collect();
    assert!(wide.iter().max() > Some(&990_000) && wide.iter().min() < Some(&10_000));
}

#[test]
fn zipf_numbers_follow_the_law() {
    const DRAWS: u64 = 100_000;
    for exponent in [0.5, 0.99, 1.0, 1.000_000_5, 2.0] {
        let template = Template::parse(&format!("{{zipf:101..110:{exponent}}}")).unwrap();
        let mut counts = [0_u32; 10];
        for request in 0..DRAWS {
            let drawn: usize = expand(&template, At { client: 3, request, seed: 5 }).parse().unwrap();
            counts[drawn - 101] += 1;
        }
        let weight = |rank: usize| (rank as f64 + 1.0).powf(-exponent);
        let sum: f64 = (0..10).map(weight).sum();
        let expected = |rank| weight(rank) / sum * DRAWS as f64;
        let chi_square: f64 = counts
            .iter()
            .enumerate()
            .map(|(rank, count)| (f64::from(*count) - expected(rank)).powi(2) / expected(rank))
            .sum();
        assert!(chi_square < 27.9, "{exponent}: {chi_square}: {counts:?}");
    }
}

#[test]
fn the_widest_zipf_ranges_stay_in_their_bounds() {
    for (exponent, least, greatest) in [("0.01", 1 << 40, u64::MAX), ("1", 1, u64::MAX), ("100", 1, 1)] {
        let field = format!("{{zipf:1..1000000000000000:{exponent}}}");
        let drawn: Vec<_> = (0..10_000).map(|request| value(&field, At { request, ..AT })).collect();
        assert!(drawn.iter().all(|value| (1..=1_000_000_000_000_000).contains(value)), "{exponent}");
        assert!(*drawn.iter().max().unwrap() >= least && *drawn.iter().max().unwrap() <= greatest);
    }
}

#[test]
fn fields_of_one_request_differ_and_do_not_depend_on_the_order() {
    let both = Template::parse("{random:0..1000000} {random:0..1000000}").unwrap();
    let text = expand(&both, AT);
    let (one, other) = text.split_once(' ').unwrap();
    assert_ne!(one, other);
    expand(&both, At { request: 1, ..AT });
    assert_eq!(expand(&both, AT), text);
}

#[test]
fn joined_templates_number_their_fields_anew() {
    let field = || Template::parse("{random:0..1000000} ").unwrap();
    let whole = Template::parse("{random:0..1000000} {random:0..1000000} {random:0..1000000} ").unwrap();
    let joined = Template::concat([field(), Template::concat([field()]), field()]);
    assert_eq!(expand(&joined, AT), expand(&whole, AT));
    let parts = whole.words().unwrap();
    let sized = Template::concat(
        parts.into_iter().map(|word| Template::concat([counted(word), Template::literal(" ")])),
    );
    let bare: Vec<_> = expand(&sized, AT).split(' ').map(str::to_owned).collect();
    let expected: Vec<_> = expand(&whole, AT)
        .split_whitespace()
        .map(|word| (format!("${}", word.len()), word.to_owned()))
        .flat_map(|(head, word)| [head, word])
        .collect();
    assert_eq!(bare[..6], expected);
}

#[test]
fn a_template_without_fields_is_one_literal() {
    let parts = ["a", r"\n", "{fill:3}", "b"].map(|text| Template::parse(text).unwrap());
    let joined =
        Template::concat(parts.into_iter().chain([Template::literal(*b"\xff"), Template::default()]));
    assert_eq!(joined.as_literal(), Some(&b"a\nTheb\xff"[..]));
    assert_eq!(counted(joined.clone()).as_literal(), Some(&b"$7 a\nTheb\xff"[..]));
    assert_eq!(joined.pieces.len(), 1);
    assert_eq!(Template::default().as_literal(), Some(&b""[..]));
    assert_eq!(counted(Template::default()).as_literal(), Some(&b"$0 "[..]));
    assert_eq!(Template::parse("a{client}").unwrap().as_literal(), None);
    assert_eq!(counted(Template::parse("{client}").unwrap()).as_literal(), None);
}

#[test]
fn a_head_has_the_length_of_its_content() {
    let of = |text: &str| Template::parse(text).unwrap();
    let nested = counted(Template::concat([of("a"), counted(of("{request}")), of("{client}")]));
    for (template, expected) in [
        (counted(of("{request}")), "$12 123456789012"),
        (nested, "$18 a$12 1234567890127"),
        (Template::sized(|_, _| {}, of("{client}")), "7"),
    ] {
        assert_eq!(expand(&template, AT), expected);
    }
    // Content of a fixed length has its head at once.
    let uuid = counted(of("{uuid}"));
    assert!(uuid.starts_with(b"$36 ") && uuid.fixed_length() == Some(40), "{uuid:?}");
    assert_eq!(expand(&uuid, AT), format!("$36 {}", expand(&of("{uuid}"), AT)));
}

#[test]
fn words_are_split_as_by_redis_cli() {
    for (given, expected) in [
        ("", &[][..]),
        (" \t", &[]),
        ("PING", &["PING"]),
        ("  SET  key{client}x \t value ", &["SET", "key7x", "value"]),
        (r#"SET k "a b""#, &["SET", "k", "a b"]),
        (r#"SET k 'a "b"' "" ''"#, &["SET", "k", "a \"b\"", "", ""]),
        (r#"SET k "v: {request}!""#, &["SET", "k", "v: 123456789012!"]),
        (r#"a"b c""#, &["ab c"]),
        // Escapes of the text neither split nor quote.
        (
            r#"SET k a\x20b\n \"x "say \"hi\"" 'it\'s' \\n"#,
            &["SET", "k", "a b\n", "\"x", "say \"hi\"", "it's", "\\n"],
        ),
    ] {
        assert_eq!(words(&Template::parse(given).unwrap()).unwrap(), expected, "{given}");
    }
    let literal = Template::literal(*br#"SET "a\"b\n\x41\x4\q" 'c\'\n' d\n"#);
    assert_eq!(words(&literal).unwrap(), ["SET", "a\"b\nAx4q", "c'\\n", "d\\n"]);
    // A word is final.
    let word = Template::parse(r#""a 'b" {client}"#).unwrap().words().unwrap().remove(0);
    assert_eq!(words(&word).unwrap(), ["a 'b"]);
}

#[test]
fn an_open_quote_and_text_behind_a_quote_are_refused() {
    for (given, expected) in [
        ("SET k \"a b", "a quote (\") is not closed: close it, or write \\\" for a plain one"),
        ("SET k it's", "a quote (') is not closed: close it, or write \\' for a plain one"),
        ("\"a\"b", "a closing quote is followed by text: put a space after it, or quote the whole word"),
        ("'a'{client}", "a closing quote is followed by text: put a space after it, or quote the whole word"),
    ] {
        assert_eq!(words(&Template::parse(given).unwrap()).unwrap_err(), expected, "{given}");
    }
}

#[test]
fn a_template_is_split_at_bytes_of_a_literal() {
    let template = Template::parse(r#"a{client}\n" \n{request}\n"#).unwrap();
    let (before, after) = template.split_once(b"\n").unwrap();
    assert_eq!(
        (expand(&before, AT), expand(&after, AT)),
        ("a7".to_owned(), "\" \n123456789012\n".to_owned())
    );
    let (before, after) = template.split_once(b"\" \n").unwrap();
    assert_eq!((expand(&before, AT), expand(&after, AT)), ("a7\n".to_owned(), "123456789012\n".to_owned()));
    let (before, after) = Template::literal(*b"ab").split_once(b"ab").unwrap();
    assert_eq!((before.as_literal(), after.as_literal()), (Some(&b""[..]), Some(&b""[..])));
    assert!(template.split_once(b"12").is_none() && template.split_once(b"a7").is_none());
    // An escaped quote stays escaped.
    let (_, after) = Template::parse(r#"k: \"a b\" c"#).unwrap().split_once(b": ").unwrap();
    assert_eq!(words(&after).unwrap(), ["\"a", "b\"", "c"]);
}

#[test]
fn the_ends_of_a_template_are_those_of_its_literals() {
    let template = Template::parse("GET {client}\\r\\n").unwrap();
    assert!(template.starts_with(b"GET ") && template.ends_with(b"\r\n"));
    assert!(!template.starts_with(b"GET 7") && !template.ends_with(b"7\r\n"));
    let bare = Template::parse("{client}").unwrap();
    assert!(!bare.starts_with(b"7") && !bare.ends_with(b"7"));
}
