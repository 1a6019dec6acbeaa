//! Bytes: how tests show, compare and make them.

/// The first bytes, escaped.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 2000;
    let rest = bytes.len().saturating_sub(SHOWN);
    let escaped = bytes[..bytes.len() - rest].escape_ascii().to_string().replace("\\n", "\n");
    if rest == 0 { escaped } else { format!("{escaped}... and {rest} bytes more") }
}

/// Expects equal bytes. Shows where a difference begins.
#[track_caller]
pub(crate) fn expect_same(got: &[u8], expected: &[u8]) {
    if got == expected {
        return;
    }
    let offset = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    let around = |bytes: &[u8]| {
        let from = offset.min(bytes.len());
        bytes[from..bytes.len().min(from + 32)].escape_ascii().to_string()
    };
    panic!(
        "{} bytes instead of {}, which differ from byte {offset} on: '{}' instead of '{}'",
        got.len(),
        expected.len(),
        around(got),
        around(expected)
    );
}

/// Pseudo-random bytes of every value. Always the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..length).map(|_| random.next() as u8).collect()
}

/// The expected echo of the bytes.
pub(crate) fn upper(bytes: &[u8]) -> Vec<u8> {
    bytes.to_ascii_uppercase()
}

/// The value of `name=` in a log line.
#[track_caller]
pub(crate) fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let mut fields = line.split_whitespace();
    fields
        .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {name}= in: {line}"))
}

/// The long flags in a help text. Each begins a line, or follows its short form.
pub(crate) fn flags(help: &str) -> Vec<String> {
    let flag_of = |line: &str| {
        let flag = line.split_whitespace().take(2).find(|word| word.starts_with("--"))?;
        Some(flag.trim_end_matches(|end: char| !end.is_ascii_alphanumeric()).to_owned())
    };
    let lines = help.lines().filter(|line| line.starts_with("  ") && line.trim_start().starts_with('-'));
    let flags: Vec<_> = lines.filter_map(flag_of).collect();
    assert!(flags.len() > 10, "{flags:?}");
    flags
}

/// Marsaglia's xorshift: random enough for bytes and sizes.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 32
    }
}
