//! What a load thread learns of the TLS of its connections.

use rustls::CommonState;

/// What a load thread learns of the TLS of its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFacts {
    /// What the first handshake agreed on.
    pub agreed: Option<Agreed>,
    /// The first failure, for people.
    pub failure: Option<Box<str>>,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The version, as in `TLS 1.3`.
    pub version: String,
    /// The cipher suite by its registered name, as in `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
    /// The application protocol. None if the server chose none.
    pub alpn: Option<String>,
}

impl TlsFacts {
    /// Adds what another thread has learned.
    pub(crate) fn merge(&mut self, other: Self) {
        self.agreed = self.agreed.take().or(other.agreed);
        self.failure = self.failure.take().or(other.failure);
    }
}

impl Agreed {
    /// What a connection agreed on, after its handshake.
    pub(crate) fn of(connection: &CommonState) -> Self {
        let version =
            connection.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
        let suite = connection.negotiated_cipher_suite();
        let suite = suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
        let text = |protocol: &[u8]| String::from_utf8_lossy(protocol).into_owned();
        Self {
            version: version.replacen("TLSv", "TLS ", 1).replace('_', "."),
            // rustls marks the suites of TLS 1.3, whose registered names have no such mark.
            cipher_suite: suite.replacen("TLS13_", "TLS_", 1),
            alpn: connection.alpn_protocol().map(text),
        }
    }
}
