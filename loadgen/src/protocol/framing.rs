//! The settings of protocols.

/// The settings of protocols, as the user gives them. None: the protocol's default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Framing {
    /// The end of a reply, with escapes (`line`).
    pub delimiter: Option<String>,
    /// The bytes of a reply (`fixed`).
    pub reply_size: Option<u64>,
    /// The bytes of the length field, from 1 to 8 (`length`).
    pub length_field_length: Option<u64>,
    /// The bytes before the length field (`length`).
    pub length_field_offset: Option<u64>,
    /// What is added to the value of the length field to get the number of bytes after it (`length`).
    pub length_adjustment: Option<i64>,
    /// The least significant byte of the length field comes first (`length`).
    pub length_little_endian: bool,
    /// The host that requests name (`http`).
    pub host: String,
}

impl Framing {
    /// The flags that the user has given.
    pub(super) fn given(&self) -> impl Iterator<Item = &'static str> {
        [
            ("--delimiter", self.delimiter.is_some()),
            ("--reply-size", self.reply_size.is_some()),
            ("--length-field-length", self.length_field_length.is_some()),
            ("--length-field-offset", self.length_field_offset.is_some()),
            ("--length-adjustment", self.length_adjustment.is_some()),
            ("--length-little-endian", self.length_little_endian),
        ]
        .into_iter()
        .filter_map(|(flag, is_given)| is_given.then_some(flag))
    }
}
