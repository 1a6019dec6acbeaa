//! Writes metrics in the text format of Prometheus.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::snapshot::{BOUNDS_NS, Distribution};

/// The content type of the text format of Prometheus.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text in progress. The library writes OpenMetrics, where the sample of a counter `x` has the name `x_total`. In the
/// text format of Prometheus, the counter and its sample have the same name. So counters have the suffix in their name, and
/// their values are written like gauges, to which the library adds no suffix.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    /// A counter, whose name ends with `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.describe(name, help, MetricType::Counter)?.encode_gauge(&value)
    }

    /// Counters, one for each value of a label.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        samples(self.describe(name, help, MetricType::Counter)?, label, values)
    }

    /// A gauge.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.describe(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// Gauges, one for each value of a label.
    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        samples(self.describe(name, help, MetricType::Gauge)?, label, values)
    }

    /// Facts, as the labels of a sample that is always 1.
    pub(super) fn facts(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> fmt::Result {
        self.describe(name, help, MetricType::Gauge)?.encode_family(&labels)?.encode_gauge(&1_u64)
    }

    /// A histogram of times in seconds.
    pub(super) fn histogram(&mut self, name: &str, help: &str, times: &Distribution) -> fmt::Result {
        let bounds_s = BOUNDS_NS.iter().map(|bound_ns| *bound_ns as f64 / 1e9).chain([f64::INFINITY]);
        // The library makes the counts cumulative.
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
