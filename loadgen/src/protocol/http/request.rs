//! Makes a complete request from a short text.

use std::io::Write;

use crate::protocol::template::{At, Template};

/// The request with this text, to this host.
///
/// # Errors
/// What is wrong with the text, and what to write.
pub(super) fn request(host: &str, text: &Template) -> Result<Template, String> {
    let (first, rest) = text.split_once(b"\n").unwrap_or_else(|| (text.clone(), Template::literal("")));
    let line = expanded(&first);
    if memchr::memmem::find(&line, b" HTTP/1.").is_some() {
        if text.split_once(b"\r\n\r\n").is_none() && text.split_once(b"\n\n").is_none() {
            return Err(
                "a request with HTTP/1.1 is sent as it is, and needs \\r\\n\\r\\n after its head".into()
            );
        }
        return Ok(text.clone());
    }
    let method = check_first_line(line.strip_suffix(b"\r").unwrap_or(&line))?;
    let mut parts = vec![without_return(first)?, Template::literal(" HTTP/1.1\r\n")];
    let (headers, body) = split_head(rest)?;
    if !headers.has("host") {
        parts.push(Template::literal(format!("Host: {host}\r\n")));
    }
    let has_length = headers.has("content-length") || headers.has("transfer-encoding");
    parts.extend(headers.lines);
    let has_body = !expanded(&body).is_empty() || matches!(method.as_str(), "POST" | "PUT" | "PATCH");
    if has_body && !has_length {
        parts.push(Template::sized(
            |length, out| {
                write!(out, "Content-Length: {length}\r\n\r\n").expect("a vector takes every write");
            },
            body,
        ));
    } else {
        parts.extend([Template::literal("\r\n"), body]);
    }
    Ok(Template::concat(parts))
}

/// The headers of a text.
#[derive(Default)]
struct Headers {
    /// With their line ends.
    lines: Vec<Template>,
    /// In lower case.
    names: Vec<String>,
}

impl Headers {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|other| other == name)
    }
}

/// The headers up to an empty line, and the body after it.
fn split_head(mut rest: Template) -> Result<(Headers, Template), String> {
    let mut headers = Headers::default();
    loop {
        let (line, after) = rest.split_once(b"\n").unwrap_or_else(|| (rest, Template::literal("")));
        if matches!(line.as_literal(), Some(b"" | b"\r")) {
            return Ok((headers, after));
        }
        let bytes = expanded(&line);
        let name = bytes.split(|byte| *byte == b':').next().filter(|name| name.len() < bytes.len());
        let Some(name) = name.filter(|name| !name.is_empty() && name.iter().all(|byte| is_token(*byte)))
        else {
            let line = String::from_utf8_lossy(&bytes);
            return Err(format!(
                "{:?} is no header: write headers as Name: value, and an empty line before the body",
                line.trim_end()
            ));
        };
        headers.names.push(String::from_utf8_lossy(name).to_ascii_lowercase());
        headers.lines.push(Template::concat([without_return(line)?, Template::literal("\r\n")]));
        rest = after;
    }
}

/// Checks `METHOD /path`. Returns the method.
fn check_first_line(line: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(line);
    let form = "write a method and a path, as in GET /index.html";
    let (method, target) = text.split_once(' ').ok_or_else(|| format!("{text:?} is no request: {form}"))?;
    if method.is_empty() || !method.bytes().all(|byte| is_token(byte) && !byte.is_ascii_lowercase()) {
        return Err(format!("{method:?} is no method of HTTP: {form}"));
    }
    if method == "CONNECT" {
        return Err("CONNECT has no reply with an end: use another method".into());
    }
    let is_target = target.starts_with('/') || target == "*" || target.starts_with("http");
    if !is_target || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{target:?} is no path: it begins with / and has no spaces (write a space as %20); {form}"
        ));
    }
    Ok(method.to_owned())
}

/// A line without the `\r` at its end.
fn without_return(line: Template) -> Result<Template, String> {
    if !line.ends_with(b"\r") {
        return Ok(line);
    }
    match line.split_once(b"\r") {
        Some((text, after)) if after.as_literal() == Some(b"") => Ok(text),
        _ => Err("a line of the head has \\r in its middle: end lines with \\n or \\r\\n".into()),
    }
}

/// A character of names and methods (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// One expansion of a template.
fn expanded(template: &Template) -> Vec<u8> {
    let mut bytes = Vec::new();
    template.expand(&At { client: 0, request: 0, seed: 0 }, &mut bytes);
    bytes
}
