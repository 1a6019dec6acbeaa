//! loadgen across networks that are not loopback: hosts in network namespaces, with links that delay, lose, reorder and limit
//! frames. What is injected must stand in the report.

use crate::behaviour::Group;

mod cut;
mod elsewhere;
mod links;

pub(crate) fn groups() -> Vec<Group> {
    vec![links::group(), cut::group(), elsewhere::group()]
}
