//! Checks that a text is one command of memcached, and that the server replies to it.

use crate::protocol::template::{At, Template};

/// A text with fields is expanded this often to check it.
const SAMPLES: u32 = 16;

/// The request with this text.
///
/// # Errors
/// What is wrong with the text, and what to write.
pub(super) fn request(text: &Template) -> Result<Template, String> {
    let request = if text.ends_with(b"\r\n") {
        text.clone()
    } else {
        Template::concat([text.clone(), Template::literal("\r\n")])
    };
    let mut bytes = Vec::new();
    for sample in 0..SAMPLES {
        bytes.clear();
        request.expand(&At { client: sample, request: sample.into(), seed: sample.into() }, &mut bytes);
        check(&bytes)?;
    }
    Ok(request)
}

/// Checks an expanded request, which ends with `\r\n`.
fn check(bytes: &[u8]) -> Result<(), String> {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (line, data) = (&bytes[..end], &bytes[(end + 1).min(bytes.len())..]);
    let line =
        line.strip_suffix(b"\r").ok_or("the command's line ends with \\n alone: end it with \\r\\n")?;
    let words: Vec<_> =
        line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).collect();
    let (command, arguments) = words.split_first().ok_or("a request has a command, as in get key")?;
    check_reply(command, arguments)?;
    let length = match *command {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => Some(arguments.get(3)),
        b"ms" => Some(arguments.get(1)),
        _ => None,
    };
    match length {
        Some(length) => check_data(&String::from_utf8_lossy(command), length.copied(), data),
        None if data.is_empty() => Ok(()),
        None => Err("more text follows the line of the command: a request is one command".into()),
    }
}

/// Checks that the server replies to the command.
fn check_reply(command: &[u8], arguments: &[&[u8]]) -> Result<(), String> {
    if arguments.last() == Some(&b"noreply".as_slice()) {
        return Err("memcached sends no reply to a command with noreply: leave noreply out".into());
    }
    let is_meta = matches!(command, b"mg" | b"ms" | b"md" | b"ma");
    if is_meta && arguments.iter().skip(1).any(|flag| *flag == b"q") {
        return Err("memcached does not always reply to a command with the flag q: leave q out".into());
    }
    if matches!(command, b"quit" | b"shutdown" | b"watch") {
        let command = String::from_utf8_lossy(command);
        return Err(format!("{command} has no reply with an end: use another command"));
    }
    Ok(())
}

/// Checks that a data block is as long as its command says.
fn check_data(command: &str, length: Option<&[u8]>, data: &[u8]) -> Result<(), String> {
    let length = length.and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
    let form = if command == "ms" {
        "ms key 5\\r\\nhello".into()
    } else {
        format!("{command} key 0 0 5\\r\\nhello")
    };
    let Some(length) = length else {
        return Err(format!("{command} needs the length of its data block: write it as in {form}"));
    };
    match data.len().checked_sub(2) {
        Some(bytes) if bytes == length => Ok(()),
        Some(bytes) => Err(format!(
            "the data block of {command} has {bytes} bytes, and its line says {length}: make both equal"
        )),
        None => Err(format!("{command} needs a data block of {length} bytes: write it as in {form}")),
    }
}
