//! What is known of an incomplete RESP value: a step, and a level for each aggregate around it.

/// The greatest number of aggregates around a value. Redis itself nests at most 8 or so.
pub(super) const DEPTH_MAX: usize = 32;

/// What is known of an incomplete reply. It has a fixed size and owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What follows.
    pub(super) step: Step,
    /// The reply is an error.
    pub(super) error: bool,
    /// The aggregates that are incomplete, from the outermost to the innermost.
    levels: [Level; DEPTH_MAX],
    /// The number of those levels.
    depth: usize,
    /// An attribute precedes the next value, which therefore cannot be missing.
    attributed: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Step {
    /// The type of a value.
    #[default]
    Type,
    /// The rest of a value that is one line.
    Line { kind: u8 },
    /// The `\n` of that line.
    LineEnd,
    /// The rest of the length of a string, or of the number of elements.
    Count { kind: u8, count: Count },
    /// The `\n` after it.
    CountEnd { kind: u8, count: Count },
    /// This many bytes of a string or of a chunk, at least one.
    Data { left: u64, streamed: bool },
    /// The `\r` after them.
    DataEnd { streamed: bool },
    /// The `\n` after that.
    DataNewline { streamed: bool },
    /// A chunk of a streamed string.
    Chunk,
}

/// A length or a number of elements, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// No character has arrived.
    Nothing,
    /// Digits.
    Known(u64),
    /// `-`
    Minus,
    /// `-1`, the null of RESP2.
    MinusOne,
    /// `?`: the end is marked.
    Unknown,
}

/// An aggregate that is incomplete.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    kind: Aggregate,
    /// The missing elements, at least one. Not used for streamed aggregates.
    left: u64,
    /// It is an attribute.
    attribute: bool,
}

/// The kinds of aggregates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Aggregate {
    /// An array, set or map with a number of elements.
    #[default]
    Value,
    /// An attribute or a push message: the value follows.
    Aside,
    /// An array or a set that ends with `.`.
    Streamed,
    /// A map that ends with `.` after an even number of elements.
    StreamedMap { odd: bool },
}

impl Count {
    /// The count with one more character, if that is allowed for this type.
    pub(super) fn with(self, kind: u8, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Nothing, b'0'..=b'9') => Some(Self::Known(u64::from(byte - b'0'))),
            (Self::Known(count), b'0'..=b'9') => {
                Some(Self::Known(count.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?))
            }
            (Self::Nothing, b'-') if matches!(kind, b'$' | b'*') => Some(Self::Minus),
            (Self::Minus, b'1') => Some(Self::MinusOne),
            (Self::Nothing, b'?') if matches!(kind, b'$' | b'*' | b'~' | b'%') => Some(Self::Unknown),
            _ => None,
        }
    }

    /// The count is complete. A verbatim string begins with its format, as in `txt:`.
    pub(super) fn is_valid(self, kind: u8) -> bool {
        match self {
            Self::Nothing | Self::Minus => false,
            Self::Known(length) => kind != b'=' || length >= 4,
            Self::MinusOne | Self::Unknown => true,
        }
    }
}

impl Reading {
    /// The number of incomplete aggregates.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// An aggregate with at least one element, or a streamed one, begins.
    pub(super) fn enter(&mut self, kind: Aggregate, left: u64, attribute: bool) -> Result<(), &'static str> {
        self.attributed = false;
        let level = self.levels.get_mut(self.depth).ok_or("at most 32 nested aggregates")?;
        *level = Level { kind, left, attribute };
        self.depth += 1;
        Ok(())
    }

    /// A value ends. Ends the aggregates of which it is the last element. True if it is the whole reply.
    pub(super) fn value_ended(&mut self) -> bool {
        self.attributed = false;
        while let Some(top) = self.depth.checked_sub(1) {
            let level = &mut self.levels[top];
            match &mut level.kind {
                Aggregate::Streamed => return false,
                Aggregate::StreamedMap { odd } => {
                    *odd = !*odd;
                    return false;
                }
                Aggregate::Value | Aggregate::Aside if level.left > 1 => {
                    level.left -= 1;
                    return false;
                }
                Aggregate::Value => self.depth = top,
                Aggregate::Aside => {
                    let attribute = level.attribute;
                    self.depth = top;
                    self.aside_ended(attribute);
                    return false;
                }
            }
        }
        true
    }

    /// An attribute or a push message ends.
    pub(super) fn aside_ended(&mut self, attribute: bool) {
        self.attributed = attribute;
    }

    /// Whether the innermost aggregate may end here with `.`.
    pub(super) fn end_is_allowed(&self) -> bool {
        let Some(top) = self.depth.checked_sub(1) else { return false };
        matches!(self.levels[top].kind, Aggregate::Streamed | Aggregate::StreamedMap { odd: false })
            && !self.attributed
    }

    /// The innermost aggregate is streamed and ends. It is a value of the aggregate around it.
    pub(super) fn end_aggregate(&mut self) {
        self.depth -= 1;
    }
}
