//! What can be wrong with a template.

use super::field::KNOWN_FIELDS;
use crate::protocol::message::SIZE_MAX;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// An unknown name in braces.
    #[error(
        "{{{field}}} at byte {offset} is no field: the fields are {KNOWN_FIELDS}; for this text itself, write {{{{{field}}}}}"
    )]
    UnknownField {
        /// The offset of its brace.
        offset: usize,
        /// The text between the braces.
        field: String,
    },
    /// A known field with a wrong setting.
    #[error("{{{field}}} at byte {offset}: {problem}")]
    BadField {
        /// The offset of its brace.
        offset: usize,
        /// The text between the braces.
        field: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// A known field without its closing brace.
    #[error(
        "the field {{{name} at byte {offset} is not closed: add its closing brace, or write \\{{{name} for this text itself"
    )]
    OpenField {
        /// The offset of its brace.
        offset: usize,
        /// The name of the field.
        name: String,
    },
    /// A backslash before something else than an escape.
    #[error(
        "{escape} at byte {offset} is no escape: the escapes are \\n, \\r, \\t, \\0, \\xHH (two hexadecimal digits), \\\\, \
         \\{{, \\}}, \\' and \\\"; write \\\\ for a backslash"
    )]
    BadEscape {
        /// The offset of its backslash.
        offset: usize,
        /// The backslash and what follows.
        escape: String,
    },
    /// More literal bytes than a message may have.
    #[error("the text is longer than {SIZE_MAX} bytes (64 MiB), the largest message: use a shorter {{fill}}")]
    TooLong,
}
