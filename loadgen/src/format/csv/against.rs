//! The rows of servers that are held against their kept rounds.

use crate::result::{
    comparison::{
        Subject,
        against::{Against, Change, Outcome, ServerAgainst},
    },
    conclusion::against::changes,
    metrics::Metric,
};

/// The columns that only these rows fill.
pub(super) const FRONTS: [&str; 11] = [
    "metric",
    "ratio",
    "ratio_low",
    "ratio_high",
    "change",
    "regression",
    "tolerance",
    "today",
    "kept",
    "kept_file",
    "reason",
];

/// A row.
pub(super) struct Row {
    /// The server. Empty in a warning.
    pub(super) server: String,
    /// What the row is.
    pub(super) scope: &'static str,
    /// The cells of [`FRONTS`].
    pub(super) cells: [String; FRONTS.len()],
}

/// A row for each metric of each server, one for a server without metrics, one for each kept server that was not measured, and
/// one for each warning.
pub(super) fn rows(against: &Against, subjects: &[Subject]) -> Vec<Row> {
    let mut rows = Vec::new();
    for server in &against.servers {
        let today = subjects.iter().find(|subject| subject.name == server.name);
        if server.metrics.is_empty() {
            rows.push(whole(against, server));
        }
        rows.extend(changes(server).map(|changed| of_metric(against, server, today, changed)));
    }
    let missing = |name: &String| row(against, "against", name, "not measured today", "");
    rows.extend(against.not_measured.iter().map(missing));
    rows.extend(against.warnings.iter().map(|warning| row(against, "warning", "", "", warning)));
    rows
}

fn whole(against: &Against, server: &ServerAgainst) -> Row {
    let reason = server.reason.as_deref().unwrap_or_default();
    let mut row = row(against, "against", &server.name, "not compared", reason);
    row.cells[5] = (server.outcome == Outcome::Regression).to_string();
    row
}

fn of_metric(
    against: &Against,
    server: &ServerAgainst,
    today: Option<&Subject>,
    (metric, change): (&Metric, &Change),
) -> Row {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let Change { ratio, low, high, change: direction, regression, reason } = change;
    let mut row =
        row(against, "against", &server.name, direction.name(), reason.as_deref().unwrap_or_default());
    metric.name.clone_into(&mut row.cells[0]);
    row.cells[1] = number(*ratio);
    row.cells[2] = number(*low);
    row.cells[3] = number(*high);
    row.cells[5] = regression.to_string();
    row.cells[7] = number(today.and_then(|today| today.summary.get(metric.name)?.median));
    row.cells[8] = number(server.kept.as_ref().and_then(|kept| kept.summary.get(metric.name)?.median));
    row
}

fn row(against: &Against, scope: &'static str, server: &str, change: &str, reason: &str) -> Row {
    let mut cells = [const { String::new() }; FRONTS.len()];
    change.clone_into(&mut cells[4]);
    cells[6] = against.tolerance.to_string();
    cells[9].clone_from(&against.kept.file);
    reason.clone_into(&mut cells[10]);
    Row { server: server.to_owned(), scope, cells }
}
