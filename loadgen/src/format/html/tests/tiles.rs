//! The heat map and the bars of a page.

use super::{failing, text};
use crate::result::Document;

#[test]
fn intervals_and_clients_are_drawn_as_tiles() {
    let page = text(&Document::Run(Box::new(failing())));
    for part in [
        "<h3>Response times over time</h3>",
        "The row at the top: requests that failed.",
        "Each column is an interval of",
        "Not shown, as the outcome came after the window: 31 requests.",
        "</svg>from 0.01%</li>",
        "aria-label=\"A heat map of the response times over time, in 2 columns",
        "Jain's index: 0.9987",
    ] {
        assert!(
            page.replace("<span class=\"whole\">", "").replace("</span>", "").contains(part),
            "{part} in {page}"
        );
    }
    // Broad, wide and narrow, each with a path of the most frequent band.
    assert!(page.matches("<path fill=").count() >= 3 && page.contains("class=\"broad\""), "{page}");
    let mut short = failing();
    short.intervals.truncate(1);
    assert!(
        !text(&Document::Run(Box::new(short))).contains("heat map"),
        "one interval has the run's own distribution"
    );
}
