//! TLS: the plan of it, and what the handshakes gave.

use serde::{Deserialize, Serialize};

use crate::load::tls::{TlsPlan, Trust};

/// How the clients use TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TlsSummary {
    /// No certificate was checked.
    pub insecure: bool,
    /// The file with the trusted certificates. None: the system's, if certificates are checked.
    #[serde(default)]
    pub ca: Option<String>,
    /// The file with the clients' certificate.
    #[serde(default)]
    pub client_certificate: Option<String>,
    /// The name that the server's certificate must have. None: the host of the target.
    #[serde(default)]
    pub name: Option<String>,
    /// The application protocols that the clients offer.
    #[serde(default)]
    pub alpn: Vec<String>,
    /// A client that reconnects resumes its last session.
    pub resumption: bool,
}

/// What the TLS handshakes of a run gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tls {
    /// Full handshakes, over the whole run.
    pub full_handshakes: u64,
    /// Handshakes that resumed a session, over the whole run.
    pub resumed_handshakes: u64,
    /// The version that the first handshake agreed on, as in `TLS 1.3`. None without a handshake.
    #[serde(default)]
    pub version: Option<String>,
    /// Its cipher suite.
    #[serde(default)]
    pub cipher_suite: Option<String>,
    /// Its application protocol.
    #[serde(default)]
    pub alpn: Option<String>,
    /// The first failure of TLS, for people.
    #[serde(default)]
    pub first_failure: Option<String>,
}

impl TlsSummary {
    /// The summary of a plan.
    pub(crate) fn of(plan: &TlsPlan) -> Self {
        let file = |path: &std::path::Path| path.display().to_string();
        let ca = match &plan.trust {
            Trust::File(path, _) => Some(file(path)),
            Trust::System(_) | Trust::Anything => None,
        };
        Self {
            insecure: matches!(plan.trust, Trust::Anything),
            ca,
            client_certificate: plan.identity.as_ref().map(|identity| file(&identity.file)),
            name: plan.name.as_ref().map(|name| name.to_str().into_owned()),
            alpn: plan.alpn.clone(),
            resumption: plan.resumption,
        }
    }
}
