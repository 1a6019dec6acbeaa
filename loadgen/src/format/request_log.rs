//! The lines of a request log: CSV with a header, and a comment at the end if lines are missing.

use std::io;

use crate::{
    engine::request_log::{Ending, Entry},
    result::RequestLogSummary,
};

/// The first line.
pub(crate) const HEADER: &str = "due_ns,written_ns,ended_ns,client,request,kind,outcome\n";

/// Formats lines.
#[derive(Debug)]
pub(crate) struct LogLines {
    /// The names of the kinds, quoted where that is necessary.
    kinds: Vec<Vec<u8>>,
}

impl LogLines {
    /// Lines of requests of these kinds.
    ///
    /// # Errors
    /// When a name cannot be quoted.
    pub(crate) fn new(kinds: &[String]) -> io::Result<Self> {
        Ok(Self { kinds: kinds.iter().map(|name| quoted(name)).collect::<io::Result<_>>()? })
    }

    /// Appends the line of a request.
    pub(crate) fn append(&self, entry: &Entry, out: &mut Vec<u8>) {
        let mut numbers = itoa::Buffer::new();
        out.extend_from_slice(numbers.format(entry.due_ns).as_bytes());
        out.push(b',');
        if entry.is_written {
            out.extend_from_slice(numbers.format(entry.written_ns).as_bytes());
        }
        out.push(b',');
        out.extend_from_slice(numbers.format(entry.ended_ns).as_bytes());
        out.push(b',');
        out.extend_from_slice(numbers.format(entry.client).as_bytes());
        out.push(b',');
        out.extend_from_slice(numbers.format(entry.request).as_bytes());
        out.push(b',');
        out.extend_from_slice(&self.kinds[usize::from(entry.kind)]);
        out.push(b',');
        let outcome = match entry.ending {
            Ending::Replied => "ok",
            Ending::Failed(failure) => failure.name(),
            Ending::CutOff => "cut_off",
        };
        out.extend_from_slice(outcome.as_bytes());
        out.push(b'\n');
    }
}

/// The comment at the end of a log without some of the requests. Empty if it has all.
pub(crate) fn trailer(log: &RequestLogSummary) -> String {
    let requests = log.requests();
    let mut trailer = String::new();
    if log.dropped > 0 {
        trailer +=
            &format!("# {} of {requests} requests have no line: the writer could not follow\n", log.dropped);
    }
    if log.beyond_limit > 0 {
        trailer +=
            &format!("# {} of {requests} requests have no line: --log-limit is reached\n", log.beyond_limit);
    }
    trailer
}

/// A name as a field. A name with `#` is quoted, too: a reader may take the rest of the line for a comment.
fn quoted(name: &str) -> io::Result<Vec<u8>> {
    let style = if name.contains('#') { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
    let mut writer = csv::WriterBuilder::new().quote_style(style).from_writer(Vec::new());
    writer.write_record([name]).and_then(|()| Ok(writer.flush()?)).map_err(io::Error::other)?;
    let mut field = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    // The end of the record.
    field.truncate(field.len().saturating_sub(1));
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::failure::Failure;

    #[test]
    fn each_request_is_a_line_of_csv() {
        let kinds = ["get", "a,b", "say \"x\"", "#1"].map(str::to_owned);
        let lines = LogLines::new(&kinds).unwrap();
        let entry = Entry {
            due_ns: -5,
            written_ns: 1,
            ended_ns: 2,
            request: u64::MAX,
            client: 7,
            kind: 0,
            is_written: true,
            ending: Ending::Replied,
        };
        let unwritten = Entry { kind: 1, is_written: false, ending: Ending::CutOff, ..entry };
        let mut out = HEADER.as_bytes().to_vec();
        lines.append(&entry, &mut out);
        lines.append(&unwritten, &mut out);
        lines.append(&Entry { kind: 2, ending: Ending::Failed(Failure::Timeout), ..entry }, &mut out);
        lines.append(&Entry { kind: 3, ending: Ending::Failed(Failure::Unexpected), ..entry }, &mut out);
        insta::assert_snapshot!(String::from_utf8(out.clone()).unwrap(), @r##"
        due_ns,written_ns,ended_ns,client,request,kind,outcome
        -5,1,2,7,18446744073709551615,get,ok
        -5,,2,7,18446744073709551615,"a,b",cut_off
        -5,1,2,7,18446744073709551615,"say ""x""",timeout
        -5,1,2,7,18446744073709551615,"#1",unexpected
        "##);
        let mut reader = csv::Reader::from_reader(&out[..]);
        let read: Vec<_> = reader.records().map(|record| record.unwrap()[5].to_owned()).collect();
        assert_eq!(read, kinds);
    }

    #[test]
    fn the_end_says_how_many_requests_have_no_line() {
        let log = RequestLogSummary { lines: 10, ..RequestLogSummary::default() };
        assert_eq!(trailer(&log), "");
        insta::assert_snapshot!(trailer(&RequestLogSummary { dropped: 4, beyond_limit: 3, ..log }), @r"
        # 4 of 17 requests have no line: the writer could not follow
        # 3 of 17 requests have no line: --log-limit is reached
        ");
    }
}
