//! Numbers as a person reads them.

/// A time with three significant digits and its unit: `850 ns`, `12.3 µs`, `1.23 s`.
pub fn duration_ns(time_ns: u64) -> String {
    scaled(time_ns as f64, 1000.0, &["ns", "µs", "ms", "s"])
}

/// Memory with three significant digits and its unit: `12.3 MiB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A count with its thousands parted: `1,234,567`.
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

/// A rate: whole when it is large, else with three significant digits.
pub fn rate(per_s: f64) -> String {
    if per_s >= 100.0 { count(per_s.round() as u64) } else { significant(per_s) }
}

/// A part of a whole, from 0 to 1, in percent.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent == 0.0 || percent >= 0.1 => format!("{percent:.1}%"),
        percent if percent >= 0.001 => format!("{percent:.3}%"),
        _ => "<0.001%".to_owned(),
    }
}

/// Divides by `step` until a unit fits. The last unit takes what remains.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut index = 0;
    // What would be rounded up to the next unit belongs there.
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
    fn counts_rates_bytes_and_parts_are_read_at_a_glance() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([rate(0.5), rate(99.0), rate(20_000.4)], ["0.50", "99.0", "20,000"]);
        assert_eq!([bytes(512), bytes(1536), bytes(12 << 20)], ["512 B", "1.50 KiB", "12.0 MiB"]);
        assert_eq!(
            [percent(0.0), percent(0.5), percent(0.0001), percent(1e-9)],
            ["0.0%", "50.0%", "0.010%", "<0.001%"]
        );
    }
}
