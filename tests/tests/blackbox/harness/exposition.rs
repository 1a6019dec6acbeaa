//! Metrics that a program serves, parsed strictly by the definition of their format: the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), or OpenMetrics
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
};

use common::Address;

use super::wait::PATIENCE;

/// An answer to an HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The names are in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// The metrics of one scrape: values by their series, such as `errors_total{kind="reset"}`.
#[derive(Debug)]
pub(crate) struct Exposition {
    pub(crate) text: String,
    series: BTreeMap<String, f64>,
    families: Vec<Family>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Prometheus,
    /// The name of a counter's sample ends with `_total`, and that of its family does not. A family may have a unit. The text
    /// has an end.
    OpenMetrics,
}

#[derive(Debug)]
struct Family {
    format: Format,
    name: String,
    kind: String,
    series: Vec<String>,
}

/// Sends this text, and reads the response to its end.
#[track_caller]
pub(crate) fn ask(address: &Address, request: &str) -> Answer {
    let addresses = address.resolve().expect("it has an IP address");
    let mut stream = TcpStream::connect(addresses.as_slice()).expect("metrics are served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a wait may have a bound");
    stream.write_all(request.as_bytes()).expect("a request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the response can be read");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let mut lines = head.lines();
    let version = if request.contains(" HTTP/1.0\r\n") { "HTTP/1.0 " } else { "HTTP/1.1 " };
    let status = lines.next().and_then(|line| line.strip_prefix(version)?.get(..3)?.parse().ok());
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"));
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {head}")),
        headers: lines.map(header).collect(),
        body: body.to_owned(),
    }
}

/// Requests this path.
#[track_caller]
pub(crate) fn get(address: &Address, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

impl Exposition {
    /// Scrapes the metrics.
    #[track_caller]
    pub(crate) fn scrape(address: &Address) -> Self {
        let answer = get(address, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let format = match answer.headers["content-type"].as_str() {
            "text/plain; version=0.0.4; charset=utf-8" => Format::Prometheus,
            "application/openmetrics-text; version=1.0.0; charset=utf-8" => Format::OpenMetrics,
            other => panic!("metrics of the type {other}"),
        };
        Self::read(answer.body, format)
    }

    /// The sum of a family's series with these labels, such as `worker="1"`.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let has_labels = |series: &str| labels.iter().all(|label| series.contains(label));
        let is_in = |series: &str| series.split('{').next() == Some(name) && has_labels(series);
        let found: Vec<_> = self.series.iter().filter(|(series, _)| is_in(series)).collect();
        assert!(!found.is_empty(), "no {name} with {labels:?} in\n{}", self.text);
        found.into_iter().map(|(_, value)| value).sum()
    }

    /// The value of a series.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// The value of a series, as a count.
    #[track_caller]
    pub(crate) fn count(&self, series: &str) -> u64 {
        let value = self.value(series);
        assert!(value >= 0.0 && value.fract() == 0.0, "{series} is {value}");
        value as u64
    }

    /// Whether there is a series of this family.
    pub(crate) fn has(&self, family: &str) -> bool {
        self.families.iter().any(|each| each.name == family)
    }

    /// The series of a family.
    #[track_caller]
    pub(crate) fn series(&self, family: &str) -> &[String] {
        let found = self.families.iter().find(|each| each.name == family);
        &found.unwrap_or_else(|| panic!("no {family} in\n{}", self.text)).series
    }

    /// The upper bounds of a histogram's buckets, with the number of samples up to each.
    #[track_caller]
    pub(crate) fn buckets(&self, family: &str) -> Vec<(f64, u64)> {
        let bucket = |series: &String| {
            let bound = series.strip_prefix(&format!("{family}_bucket{{le=\""))?.strip_suffix("\"}")?;
            Some((bound.parse().expect("a bound is a number"), self.count(series)))
        };
        self.series(family).iter().filter_map(bucket).collect()
    }

    /// Expects the same series as in an earlier scrape, and that no counter has decreased.
    #[track_caller]
    pub(crate) fn expect_grown_from(&self, earlier: &Self) {
        assert!(self.series.keys().eq(earlier.series.keys()), "{}\nafter\n{}", self.text, earlier.text);
        for family in self.families.iter().filter(|family| family.kind != "gauge") {
            for series in &family.series {
                let (before, now) = (earlier.value(series), self.value(series));
                assert!(before <= now, "{series} was {before} and is {now}");
            }
        }
    }

    #[track_caller]
    fn read(text: String, format: Format) -> Self {
        let end = if format == Format::OpenMetrics { "\n# EOF\n" } else { "\n" };
        let families = text.strip_suffix(end).unwrap_or_else(|| panic!("it has no end: {text}"));
        let mut exposition = Self { text: String::new(), series: BTreeMap::new(), families: Vec::new() };
        let mut lines = families.lines().peekable();
        while let Some(line) = lines.next() {
            let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
            else {
                panic!("a family begins with its help, not with: {line}");
            };
            assert!(!help.is_empty() && is_name(name), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            let kind = kind.unwrap_or_else(|| panic!("{name} has no type"));
            let (name, kind) = (name.to_owned(), kind.to_owned());
            if let Some(unit) = lines.next_if(|line| line.starts_with("# UNIT ")) {
                let unit = unit.strip_prefix(&format!("# UNIT {name} "));
                assert!(unit.is_some_and(|unit| name.ends_with(&format!("_{unit}"))), "{name}: {unit:?}");
            }
            let mut family = Family { format, name, kind, series: Vec::new() };
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                let (series, value) = sample.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {sample}"));
                family.expect_series(series);
                let value = value.parse().unwrap_or_else(|_| panic!("no number: {sample}"));
                let before = exposition.series.insert(series.to_owned(), value);
                assert_eq!(before, None, "{series} is there twice");
                family.series.push(series.to_owned());
            }
            assert!(!family.series.is_empty(), "{} has no sample", family.name);
            exposition.families.push(family);
        }
        let names: BTreeSet<_> = exposition.families.iter().map(|family| &family.name).collect();
        assert_eq!(names.len(), exposition.families.len(), "a family is there twice");
        exposition.text = text;
        exposition.families.iter().for_each(|family| exposition.expect_sound(family));
        exposition
    }

    #[track_caller]
    fn expect_sound(&self, family: &Family) {
        let Family { name, kind, series, .. } = family;
        match kind.as_str() {
            "gauge" => {}
            "info" if family.format == Format::OpenMetrics => {
                series.iter().for_each(|series| assert_eq!(self.count(series), 1, "{series}"));
            }
            "counter" => {
                for series in series {
                    let sample = series.split('{').next().expect("a split has a first part");
                    assert!(sample.ends_with("_total"), "{series} is a counter");
                    assert!(self.value(series) >= 0.0, "{series}");
                }
            }
            "histogram" if series[0].contains('{') && !series[0].contains("_bucket{le") => {
                self.expect_sound_histograms(family);
            }
            "histogram" => {
                let buckets = self.buckets(name);
                for pair in buckets.windows(2) {
                    assert!(pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1, "{name}: {pair:?}");
                }
                let all = (f64::INFINITY, self.count(&format!("{name}_count")));
                assert_eq!(buckets.last(), Some(&all), "{name}");
                assert!(self.value(&format!("{name}_sum")) >= 0.0);
                assert_eq!(series.len(), buckets.len() + 2, "{name}");
            }
            other => panic!("{name} is a {other}"),
        }
    }

    /// Histograms with labels: the last bucket has all samples, and no bucket has less than the one before it.
    #[track_caller]
    fn expect_sound_histograms(&self, family: &Family) {
        let Family { name, series, .. } = family;
        let counts = series.iter().filter_map(|series| series.strip_prefix(&format!("{name}_count")));
        for labels in counts {
            let is_bucket = |series: &&String| {
                series.starts_with(&format!("{name}_bucket{{"))
                    && labels.trim_matches(['{', '}']).split(',').all(|label| series.contains(label))
            };
            let buckets: Vec<_> = series.iter().filter(is_bucket).map(|series| self.count(series)).collect();
            assert!(buckets.is_sorted() && !buckets.is_empty(), "{name}{labels}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&self.count(&format!("{name}_count{labels}"))), "{name}{labels}");
        }
    }
}

impl Family {
    /// Expects that a series with this name and these labels is valid in this family.
    #[track_caller]
    fn expect_series(&self, series: &str) {
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => {
                (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("no end: {series}")))
            }
            None => (series, ""),
        };
        let suffix = name.strip_prefix(&self.name).unwrap_or_else(|| panic!("{series} in {}", self.name));
        match self.kind.as_str() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{series}"),
            "counter" if self.format == Format::OpenMetrics => assert_eq!(suffix, "_total", "{series}"),
            "info" => assert_eq!(suffix, "_info", "{series}"),
            _ => assert_eq!(suffix, "", "{series} in {}", self.name),
        }
        // No label value contains a quotation mark or a comma.
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("no value: {series}"));
            assert!(is_name(name), "{series}");
            let value = value.strip_suffix('"').unwrap_or_else(|| panic!("no end: {series}"));
            assert!(!value.contains(['"', '\\']), "{series}");
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '_')
}
