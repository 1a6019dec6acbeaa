//! Templates: texts with fields, which are compiled once and expanded for each request. Pure.

/// A text with fields.
#[derive(Clone, Debug)]
pub(crate) struct Template;
