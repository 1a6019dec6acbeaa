//! The page of several runs.

use super::{failing, run};
use crate::{
    format::{
        html::{palette, write_several},
        words::status_name,
    },
    judge::verdict,
    result::{Latency, Report},
};

/// The page of several runs.
pub(super) fn side_by_side(runs: &[(&str, Report)]) -> String {
    let runs: Vec<_> = runs.iter().map(|(name, report)| ((*name).to_owned(), report.clone())).collect();
    let mut page = Vec::new();
    write_several(&runs, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn several_runs_are_side_by_side_with_their_verdicts() {
    let mut slow = failing();
    slow.verdict = verdict::judge(&slow);
    slow.plan.connections = 70;
    slow.command = Some("loadgen run --seed 1".to_owned());
    let status = status_name(slow.verdict.status);
    let page = side_by_side(&[("good.json", run()), ("slow.json", slow.clone())]);
    for part in [
        "<title>good.json, slow.json side by side – loadgen</title>",
        "2 runs side by side",
        "<li class=\"valid\"><p><strong>valid</strong> <strong class=\"name\">good.json</strong></p>",
        &format!("<strong>{status}</strong> <strong class=\"name\">slow.json</strong>"),
        &format!("<code>{}</code>", slow.verdict.reasons[0].code),
        "<th scope=\"row\">slow.json</th>",
        "slow.json: 100 of 4,000 requests got no reply, from p97.5 on.",
        "<h3>Response time by percentile</h3>",
        "<h3>Service time by percentile</h3>",
        "<h3>Rate</h3>",
        "The runs differ in: load.",
        "slow.json: seed 1</p>",
    ] {
        let page = page.replace("<span class=\"whole\">", "").replace("</span>", "");
        assert!(page.contains(part), "{part} in {page}");
    }
    let same = side_by_side(&[("a", run()), ("b", run())]);
    assert!(same.contains("The runs have the same plan and environment."), "{same}");
    // The open loop of both has no note about closed loops, and each line has its own tint.
    for tint in [palette::series(0), palette::series(1)] {
        assert!(same.contains(&format!("stroke=\"{}\"", tint.name())), "{same}");
    }
}

#[test]
fn several_runs_are_shown_whatever_they_lack() {
    let mut bare = run();
    bare.server = None;
    bare.intervals.clear();
    bare.latency_ns.response = Latency::default();
    bare.latency_ns.service = Latency::default();
    let page = side_by_side(&[("bare", bare.clone()), ("bare too", bare.clone())]);
    assert!(page.contains("The results hold no intervals.") && !page.contains("<figure"), "{page}");
    let page = side_by_side(&[("bare", bare), ("run", failing())]);
    assert!(page.contains("<figure") && page.contains("<th scope=\"row\">bare</th>"), "{page}");
}
