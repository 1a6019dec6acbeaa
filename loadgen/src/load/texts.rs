//! The texts of the command line: what is printed is parsed again as the same value, and no text causes a panic.

use std::{fmt::Display, str::FromStr, time::Duration};

use common::units::{format_duration, parse_duration};
use proptest::{collection::vec, prelude::*};

use crate::load::{
    abort::AbortOn, part::Part, rate::Rate, schedule::replay::Speed, slo::Slo, stages::Stages, start_at,
};
use crate::protocol::cases::cases;

/// Texts that are close to valid ones: parts of valid texts in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "p99",
        "p",
        "mean",
        "max",
        "errors",
        "rate",
        "jain",
        "<",
        "<=",
        ">",
        ">=",
        "=",
        "0",
        "1",
        "5",
        "99.9",
        "100",
        ".",
        "..",
        "k",
        "m",
        "ms",
        "s",
        "min",
        "h",
        "d",
        "/",
        ",",
        "%",
        "-",
        "+",
        "@",
        ":",
        " ",
        "e",
        "1e400",
        "18446744073709551616",
        "0.00000000000000000001",
        "NaN",
        "inf",
        "auto",
        "\u{b5}s",
        "\u{663}",
        "\0",
        "2026-11-24T12:00:00Z",
    ]);
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![3 => pieces(), 1 => "\\PC{0,20}", 1 => "[ -~]{0,20}"]
}

/// The value of a text is printed as a text of the same value. The error of another text is not empty.
fn is_stable<T: FromStr<Err: Display> + Display + PartialEq + std::fmt::Debug>(
    text: &str,
) -> Result<(), TestCaseError> {
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            let again = printed.parse::<T>();
            prop_assert!(again.is_ok(), "{text:?} is printed as {printed:?}");
            prop_assert_eq!(again.ok(), Some(value), "{} is printed as {}", text, printed);
        }
        Err(error) => prop_assert!(!error.to_string().is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(2_048))]

    #[test]
    fn no_text_causes_a_panic_and_what_is_printed_is_parsed_as_the_same(text in texts()) {
        is_stable::<Slo>(&text)?;
        is_stable::<AbortOn>(&text)?;
        is_stable::<Stages>(&text)?;
        is_stable::<Part>(&text)?;
        let _refused = (text.parse::<Speed>(), start_at::parse(&text));
        if let Ok(rate) = text.parse::<Rate>() {
            is_printed(rate)?;
        }
        if let Ok(duration) = parse_duration(&text) {
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn objectives_and_conditions_are_printed_as_they_were_written(
        (metric, low, bound) in prop_oneof![
            ((1..=999_999_u32), 1..1_000_000_u64).prop_map(|(per_million, us)| {
                (format!("p{}", f64::from(per_million) / 10_000.0), true, format!("{us}us"))
            }),
            (prop::sample::select(vec!["mean", "max"]), 1..1_000_u64).prop_map(|(metric, ms)| (metric.to_owned(), true, format!("{ms}ms"))),
            (0..=10_000_u32).prop_map(|share| ("errors".to_owned(), true, format!("{}%", f64::from(share) / 100.0))),
            (1..1_000_000_u64, prop::sample::select(vec!["", "/s", "/min", "/h", "k"])).prop_map(|(rate, unit)| ("rate".to_owned(), false, format!("{rate}{unit}"))),
            (0..=1_000_u32).prop_map(|jain| ("jain".to_owned(), false, format!("{}", f64::from(jain) / 1_000.0))),
        ],
        includes_bound in any::<bool>(),
        spaces in 0..3_usize,
        value in prop_oneof![Just(0.0), Just(1.0), 0.0..1e12_f64],
    ) {
        let equal = if includes_bound { "=" } else { "" };
        let space = " ".repeat(spaces);
        let sign = |is_low: bool| if is_low { '<' } else { '>' };
        let written = format!("{metric}{}{equal}{bound}", sign(low));
        let slo: Slo = format!("{space}{metric}{space}{}{equal}{space}{bound}{space}", sign(low)).parse()
            .map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
        prop_assert_eq!(slo.to_string(), written.clone());
        prop_assert_eq!(&written.parse::<Slo>().unwrap(), &slo);
        // The opposite comparison is a mistake.
        let opposite = format!("{metric}{}{equal}{bound}", sign(!low)).parse::<Slo>();
        prop_assert!(opposite.is_err());
        // A condition ends the load exactly when the objective with the opposite comparison does not hold.
        let condition = format!("{metric}{}{equal}{bound}/5s", sign(!low));
        if let Ok(abort) = condition.parse::<AbortOn>() {
            prop_assert_eq!(abort.to_string(), condition);
            let strict: Slo = format!("{metric}{}{}{bound}", sign(low), if includes_bound { "" } else { "=" }).parse().unwrap();
            prop_assert_eq!(abort.is_met_by(value), !strict.holds(value));
        } else {
            prop_assert!(["mean", "jain"].contains(&metric.as_str()), "{condition}");
        }
    }

    #[test]
    fn durations_and_rates_are_printed_as_the_same(ns in 0..=366 * 24 * 3_600_000_000_000_u64, digits in 1..1_000_000_000_u64, decimals in 0..9_u32) {
        let duration = Duration::from_nanos(ns);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        let text = format!("{}.{:0width$}", digits / 10_u64.pow(decimals), digits % 10_u64.pow(decimals), width = decimals as usize);
        let rate: Rate = text.trim_end_matches('.').parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert!((rate.per_s() - digits as f64 / 10_f64.powi(decimals as i32)).abs() <= rate.per_s() * 1e-12);
        is_printed(rate)?;
    }
}

/// A rate is printed with commas between thousands; the text has the same value to the precision of a float.
fn is_printed(rate: Rate) -> Result<(), TestCaseError> {
    if !(Rate::MIN..=Rate::MAX).contains(&rate) {
        return Ok(());
    }
    let printed = rate.to_string();
    let again: Rate = printed
        .replace(',', "")
        .parse()
        .map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
    prop_assert!((again.per_s() - rate.per_s()).abs() <= rate.per_s() * 1e-12, "{printed}");
    Ok(())
}
