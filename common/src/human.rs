//! Numbers in the form that people read.

const TIMES: &[&str] = &["ns", "µs", "ms", "s"];
const SIZES: &[&str] = &["B", "KiB", "MiB", "GiB", "TiB"];

/// A time with three significant digits and its unit: `850 ns`, `12.3 µs`, `1.23 s`.
pub fn duration_ns(time_ns: u64) -> String {
    scaled(time_ns as f64, 1000.0, TIMES)
}

/// A percentile that lies among the requests without a reply. They took longer than `longer_than_ns`: `> 500 ms (failed)`.
pub fn failed_ns(longer_than_ns: u64) -> String {
    format!("> {} (failed)", duration_ns(longer_than_ns))
}

/// Memory with three significant digits and its unit: `12.3 MiB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, SIZES)
}

/// A count with thousands separators: `1,234,567`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, in the singular or the plural: `1 reply`, `2,000 replies`.
pub fn plural(number: u64, noun: &str) -> String {
    let ends_in_consonant_and_y = |noun: &str| {
        let stem = noun.strip_suffix('y')?;
        (!stem.ends_with(['a', 'e', 'i', 'o', 'u'])).then(|| stem.to_owned())
    };
    match (number, ends_in_consonant_and_y(noun)) {
        (1, _) => format!("1 {noun}"),
        (number, Some(stem)) => format!("{} {stem}ies", count(number)),
        (number, None) => format!("{} {noun}s", count(number)),
    }
}

/// The verb for a count: `was` or `were`.
pub fn were(number: u64) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

/// A rate: a whole number from 100 up, else with three significant digits. A small rate is never rounded to 0.
pub fn rate(per_s: f64) -> String {
    match per_s {
        per_s if per_s >= 100.0 => count(per_s.round() as u64),
        // Below 0.1, one more decimal for each zero after the point.
        per_s if per_s > 0.0 && per_s < 0.1 => {
            let decimals = (1.0 - per_s.log10().floor()).min(9.0) as usize + 1;
            format!("{per_s:.decimals$}")
        }
        per_s => significant(per_s),
    }
}

/// A share from 0 to 1, in percent.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent == 0.0 || percent >= 0.1 => format!("{percent:.1}%"),
        percent if percent >= 0.001 => format!("{percent:.3}%"),
        _ => "<0.001%".to_owned(),
    }
}

/// The words of a text. A number and its unit are one word: `took`, `5.00 s,`.
pub fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut() {
            Some(last) if is_number(last) && is_unit(word) => *last += &format!(" {word}"),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

fn is_number(word: &str) -> bool {
    let word = word.trim_start_matches('(');
    word.starts_with(|first: char| first.is_ascii_digit())
        && word.chars().all(|each| each.is_ascii_digit() || ",.".contains(each))
}

fn is_unit(word: &str) -> bool {
    let word = word.trim_end_matches([',', '.', ';', ':', ')']);
    TIMES.contains(&word) || SIZES.contains(&word)
}

/// Divides by `step` until a unit fits. The last unit has no upper bound.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut index = 0;
    // A value that rounds up to the next unit gets that unit.
    while value >= step - 0.5 && index + 1 < units.len() {
        value /= step;
        index += 1;
    }
    if index == 0 {
        format!("{value:.0} {}", units[0])
    } else {
        format!("{} {}", significant(value), units[index])
    }
}

fn significant(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => count(value.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_unit_are_one_word() {
        assert_eq!(words("took 5.00 s, not (1,000 ms)"), ["took", "5.00 s,", "not", "(1,000 ms)"]);
        assert_eq!(words("5 requests  of 64 bytes s"), ["5", "requests", "", "of", "64", "bytes", "s"]);
    }

    #[test]
    fn times_have_three_significant_digits() {
        for (time_ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_999, "1.00 ms"),
            (1_234_567, "1.23 ms"),
            (61_000_000_000, "61.0 s"),
            (3_600_000_000_000, "3,600 s"),
        ] {
            assert_eq!(duration_ns(time_ns), text);
        }
    }

    #[test]
    fn a_count_of_one_is_singular() {
        for (number, noun, text) in [
            (0, "error", "0 errors"),
            (1, "error", "1 error"),
            (2_000, "error", "2,000 errors"),
            (1, "reply", "1 reply"),
            (2, "reply", "2 replies"),
            (2, "key", "2 keys"),
            (1, "full listen queue", "1 full listen queue"),
        ] {
            assert_eq!(plural(number, noun), text);
        }
        assert_eq!([were(0), were(1), were(2)], ["were", "was", "were"]);
    }

    #[test]
    fn counts_rates_bytes_and_shares_have_few_digits() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([rate(0.5), rate(99.0), rate(20_000.4)], ["0.50", "99.0", "20,000"]);
        assert_eq!([rate(0.0), rate(1.0 / 60.0), rate(1.0 / 3600.0)], ["0.00", "0.0167", "0.000278"]);
        assert_eq!([bytes(512), bytes(1536), bytes(12 << 20)], ["512 B", "1.50 KiB", "12.0 MiB"]);
        assert_eq!(
            [percent(0.0), percent(0.5), percent(0.0001), percent(1e-9)],
            ["0.0%", "50.0%", "0.010%", "<0.001%"]
        );
    }
}
