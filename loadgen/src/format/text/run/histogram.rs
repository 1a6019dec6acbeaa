//! The histogram of the response times, drawn with characters.

use std::io::{self, Write};

use common::human::{count, duration_ns, percent};

use crate::{
    format::text::page::{BAD, BAR, Page, paint},
    result::{Bar, Report},
};

/// The length of a row without its bar, in characters.
const BESIDE_BAR: usize = 50;
/// The length of the longest bar, in characters.
const BAR_MAX: usize = 50;

/// Prints the histogram.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    let unanswered = report.requests.unanswered();
    let counts = report.response_histogram.iter().map(|bar| bar.count);
    let all = counts.clone().fold(unanswered, u64::saturating_add);
    let most = counts.fold(unanswered, u64::max);
    if most == 0 {
        return Ok(());
    }
    let room = out.columns().saturating_sub(BESIDE_BAR).min(BAR_MAX);
    let requests = room + 14;
    writeln!(out, "{:>17}{:>requests$}{:>9}{:>10}", "response time", "requests", "share", "up to it")?;
    let rows = report.response_histogram.iter().map(|row| (range(row), row.count, BAR));
    let mut up_to = 0;
    // Requests without a reply count as the slowest.
    for (range, samples, style) in
        rows.chain((unanswered > 0).then(|| ("no reply".to_owned(), unanswered, BAD)))
    {
        up_to += samples;
        let drawn = format!("{:<room$}", draw(samples as f64 / most as f64, room));
        let [share, cumulative] = [samples, up_to].map(|part| percent(part as f64 / all as f64));
        let (drawn, samples) = (paint(style, &drawn), count(samples));
        writeln!(out, "{range:>17} {drawn}{samples:>13}{share:>9}{cumulative:>10}")?;
    }
    writeln!(out)
}

/// Both ends of a row, with the unit once if they share it.
fn range(row: &Bar) -> String {
    let end = |time_ns: u64| {
        let text = duration_ns(time_ns);
        let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
        // The ends are round numbers.
        let number = match number.contains('.') {
            true => number.trim_end_matches('0').trim_end_matches('.'),
            false => number,
        };
        (number.to_owned(), unit.to_owned())
    };
    if row.to_ns == u64::MAX {
        return format!("from {}", duration_ns(row.from_ns));
    }
    let ((from, from_unit), (to, to_unit)) = (end(row.from_ns), end(row.to_ns));
    match from_unit == to_unit {
        true => format!("{from} – {to} {to_unit}"),
        false => format!("{from} {from_unit} – {to} {to_unit}"),
    }
}

/// A bar in steps of an eighth of a character. A share above 0 gets at least one step.
fn draw(share: f64, room: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * room as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 && room > 0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_a_small_share_is_visible() {
        assert_eq!(draw(1.0, 30).chars().count(), 30);
        assert_eq!([draw(0.0, 30), draw(1e-9, 30), draw(0.05, 30), draw(1.0, 0)], ["", "▏", "█▌", ""]);
    }
}
