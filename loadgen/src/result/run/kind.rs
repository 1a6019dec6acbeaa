//! The outcomes of the requests of one kind.

use serde::{Deserialize, Serialize};

use super::Outcomes;

/// The result of one of several kinds of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kind {
    /// Its name: that of its `--message`, or in the file of `--messages`.
    pub kind: String,
    /// Its requests.
    #[serde(flatten)]
    pub outcomes: Outcomes,
}
