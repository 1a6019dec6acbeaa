//! What an error of TLS means for a user.

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::TlsClient;

/// The types of the first record of a server: an alert, or a part of the handshake (RFC 8446, 5.1).
const RECORD_TYPES: [u8; 2] = [21, 22];
/// The type of a client's first message in the handshake (RFC 8446, 4).
const CLIENT_HELLO: u8 = 1;
/// Where the type of a message is in its record.
const MESSAGE_TYPE: usize = 5;

/// The first bytes that a server sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FirstBytes {
    bytes: [u8; 16],
    length: u8,
}

impl FirstBytes {
    /// Keeps as many of the received bytes as are missing.
    pub(crate) fn keep(&mut self, received: &[u8]) {
        let free = &mut self.bytes[usize::from(self.length)..];
        let length = free.len().min(received.len());
        free[..length].copy_from_slice(&received[..length]);
        self.length += length as u8;
    }

    /// The bytes.
    pub(crate) fn get(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// An error for people: what happened, and what to do.
pub(super) fn describe(error: &Error, first_bytes: &FirstBytes, client: &TlsClient) -> String {
    if let Some(text) = without_tls(first_bytes.get()) {
        return text;
    }
    match error {
        Error::AlertReceived(alert) => alert_received(*alert, client),
        Error::NoApplicationProtocol => no_common_protocol(client),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::Tls12NotOffered,
        ) => "the server speaks neither TLS 1.2 nor TLS 1.3".to_owned(),
        other => other.to_string(),
    }
}

/// None if these are the first bytes of TLS.
fn without_tls(bytes: &[u8]) -> Option<String> {
    let first = bytes.first()?;
    if !RECORD_TYPES.contains(first) {
        let shown = bytes.escape_ascii();
        return Some(format!(
            "the server's first bytes are no TLS (\"{shown}\"): it speaks no TLS on this port; use another port, or remove --tls"
        ));
    }
    (bytes.get(MESSAGE_TYPE) == Some(&CLIENT_HELLO)).then(|| {
        "the server sent the client's first message back: it is an echo without TLS; use another port, or remove --tls"
            .to_owned()
    })
}

fn alert_received(alert: AlertDescription, client: &TlsClient) -> String {
    let advice = match alert {
        AlertDescription::CertificateRequired => {
            ": it requires a client certificate; use --tls-cert and --tls-key"
        }
        // Servers with TLS 1.2, and OpenSSL's with any version, report a missing certificate in these ways.
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate if !client.has_identity() => {
            "; if it requires a client certificate, use --tls-cert and --tls-key"
        }
        AlertDescription::UnknownCA if client.has_identity() => {
            ": it does not trust the authority that issued the certificate of --tls-cert"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
            if client.has_identity() =>
        {
            ": it rejects the certificate of --tls-cert"
        }
        AlertDescription::NoApplicationProtocol => return no_common_protocol(client),
        AlertDescription::UnrecognisedName => ": it has no such name; use --tls-name",
        AlertDescription::ProtocolVersion => ": it speaks neither TLS 1.2 nor TLS 1.3",
        _ => "",
    };
    format!("the server ended TLS with the alert {}{advice}", name(alert))
}

fn no_common_protocol(client: &TlsClient) -> String {
    format!("the server supports none of the protocols of --tls-alpn ({})", client.alpn())
}

/// The name of an alert as RFC 8446 writes it: `bad_certificate`.
fn name(alert: AlertDescription) -> String {
    let mut name = String::new();
    let debug = format!("{alert:?}");
    for (index, letter) in debug.char_indices() {
        let begins_word = letter.is_ascii_uppercase()
            && !debug[..index].chars().next_back().is_none_or(|before| before.is_ascii_uppercase());
        if begins_word {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        for (alert, expected) in [
            (AlertDescription::CertificateRequired, "certificate_required"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::HandshakeFailure, "handshake_failure"),
        ] {
            assert_eq!(name(alert), expected);
        }
    }

    #[test]
    fn bytes_of_another_protocol_are_shown() {
        let mut first = FirstBytes::default();
        first.keep(b"HTTP/1.1 ");
        first.keep(b"400 Bad Request");
        assert_eq!(first.get(), b"HTTP/1.1 400 Bad");
        assert!(without_tls(first.get()).unwrap().contains("\"HTTP/1.1 400 Bad\""));
        assert_eq!(without_tls(&[22, 3, 3, 0, 80, 2]), None);
        assert_eq!(without_tls(&[21, 3, 3, 0, 2, 2]), None);
        assert!(without_tls(&[22, 3, 1, 0, 80, 1]).unwrap().contains("an echo without TLS"));
    }
}
