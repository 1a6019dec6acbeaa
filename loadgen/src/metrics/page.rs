//! The text of an exposition, as it is written.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::snapshot::{BOUNDS_NS, Distribution};

/// The text format of Prometheus, which every scraper reads.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text under way. The library writes OpenMetrics, where the sample of a counter `x` is called `x_total`. In the text
/// format of Prometheus both have one name. So a counter's name has its suffix here, and its value is written like a
/// gauge's, to which nothing is added.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    /// A number that only grows; its name ends with `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.describe(name, help, MetricType::Counter)?.encode_gauge(&value)
    }

    /// Such numbers by the values of a label, whose sum means something.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        samples(self.describe(name, help, MetricType::Counter)?, label, values)
    }

    /// A number that may fall.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.describe(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Such numbers by the values of a label.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        samples(self.describe(name, help, MetricType::Gauge)?, label, values)
    }

    /// Facts: labels of a sample that is always 1.
    pub(super) fn facts(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        self.describe(name, help, MetricType::Gauge)?.encode_family(&labels)?.encode_gauge(&1_u64)
    }

    /// Times in seconds.
    pub(super) fn histogram(&mut self, name: &str, help: &str, times: &Distribution) -> fmt::Result {
        let bounds_s = BOUNDS_NS.iter().map(|bound_ns| *bound_ns as f64 / 1e9).chain([f64::INFINITY]);
        // Each bucket alone: the library adds them up.
        let buckets: Vec<_> = bounds_s.zip(times.counts).collect();
        let sum_s = times.sum_ns as f64 / 1e9;
        let mut metric = self.describe(name, help, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum_s, times.count(), &buckets, None)
    }

    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

fn samples(
    mut metric: MetricEncoder<'_>,
    label: &str,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    values
        .into_iter()
        .try_for_each(|(name, value)| metric.encode_family(&[(label, name)])?.encode_gauge(&value))
}
