//! The Grafana dashboard of `packaging/monitoring/`: its panels, its expressions, and the metrics that they name.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::harness::prometheus::packaged;

/// The columns of Grafana's grid.
pub(super) const COLUMNS: u64 = 24;

/// The dashboard.
pub(super) struct Dashboard(pub(super) Value);

/// A panel, or the title of a row of panels.
pub(super) struct Panel<'a>(pub(super) &'a Value);

/// The place of a panel in the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// A variable that lists the values of a label.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) selector: String,
    pub(super) label: String,
}

impl Dashboard {
    #[track_caller]
    pub(super) fn read() -> Self {
        let text = fs::read_to_string(packaged("echo-dashboard.json")).expect("it is a text");
        Self(serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON: {error}")))
    }

    /// The panels and the titles of rows. No row is collapsed, so all of them are at the top level.
    pub(super) fn panels(&self) -> Vec<Panel<'_>> {
        self.0["panels"].as_array().expect("panels are a list").iter().map(Panel).collect()
    }

    /// The expressions of all panels, as Grafana sends them when every variable has the value "All".
    pub(super) fn expressions(&self) -> Vec<String> {
        let panels = self.panels();
        let expressions = panels.iter().flat_map(Panel::targets).map(|target| {
            let expression = target["expr"].as_str().expect("an expression is a text");
            self.with_variables(expression)
        });
        expressions.collect()
    }

    /// The variables that list the values of a label.
    pub(super) fn variables(&self) -> Vec<Variable> {
        let variables = self.0["templating"]["list"].as_array().expect("variables are a list");
        variables.iter().filter(|variable| variable["type"] == "query").map(|v| self.variable(v)).collect()
    }

    fn variable(&self, variable: &Value) -> Variable {
        let text =
            |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {variable}")).to_owned();
        let query = text(&variable["query"]["query"]);
        assert_eq!(query, text(&variable["definition"]));
        let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) =
            arguments.and_then(|both| both.rsplit_once(',')).expect("it has two arguments");
        Variable {
            name: text(&variable["name"]),
            selector: self.with_variables(selector),
            label: label.trim().to_owned(),
        }
    }

    /// Replaces the variables.
    fn with_variables(&self, expression: &str) -> String {
        let names = self.0["templating"]["list"].as_array().expect("variables are a list").iter();
        let replaced = names
            .filter_map(|variable| variable["name"].as_str())
            .fold(expression.replace("$__rate_interval", "5s"), |text, name| {
                text.replace(&format!("${name}"), ".*")
            });
        assert!(!replaced.contains('$'), "a variable is not defined: {replaced}");
        replaced
    }
}

impl<'a> Panel<'a> {
    pub(super) fn title(&self) -> &'a str {
        self.0["title"].as_str().expect("a panel has a title")
    }

    pub(super) fn is_row(&self) -> bool {
        self.0["type"] == "row"
    }

    pub(super) fn targets(&self) -> &'a [Value] {
        self.0["targets"].as_array().map_or(&[], Vec::as_slice)
    }

    #[track_caller]
    pub(super) fn place(&self) -> Place {
        let number = |name: &str| {
            let value = &self.0["gridPos"][name];
            value.as_u64().unwrap_or_else(|| panic!("{}: {name} is {value}", self.title()))
        };
        Place { x: number("x"), y: number("y"), width: number("w"), height: number("h") }
    }
}

impl Place {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let apart = |at: u64, length: u64, other_at: u64, other_length: u64| {
            at + length <= other_at || other_at + other_length <= at
        };
        !apart(self.x, self.width, other.x, other.width) && !apart(self.y, self.height, other.y, other.height)
    }
}

/// The metrics that a PromQL expression names: all identifiers but functions, keywords and labels.
pub(super) fn metrics_in(expression: &str) -> BTreeSet<String> {
    const KEYWORDS: &[&str] = &["and", "or", "unless", "bool", "offset"];
    const BEFORE_LABELS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let word_end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        rest = match first {
            // No label value of ours contains a bracket.
            '{' => after_closing(rest, '}'),
            '[' => after_closing(rest, ']'),
            _ if word.is_empty() => &rest[first.len_utf8()..],
            _ if BEFORE_LABELS.contains(&word) && after.trim_start().starts_with('(') => {
                after_closing(after, ')')
            }
            '0'..='9' => after,
            _ => {
                let is_function = ["(", "by ", "by(", "without ", "without("]
                    .iter()
                    .any(|next| after.trim_start().starts_with(next));
                if !is_function && !KEYWORDS.contains(&word) && !BEFORE_LABELS.contains(&word) {
                    found.insert(word.to_owned());
                }
                after
            }
        };
    }
    found
}

fn after_closing(text: &str, bracket: char) -> &str {
    text.split_once(bracket).unwrap_or_else(|| panic!("no {bracket} in {text}")).1
}
