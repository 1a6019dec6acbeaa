//! The arguments of TLS.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::load::tls::TlsRequest;

/// TLS.
#[derive(Debug, clap::Args)]
pub(crate) struct TlsArgs {
    /// Connect with TLS 1.3 or 1.2
    #[arg(long, help_heading = "TLS", conflicts_with = "kernel_timestamps")]
    tls: bool,
    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, help_heading = "TLS", value_name = "FILE", requires = "tls")]
    tls_ca: Option<PathBuf>,
    /// The client's certificate for servers that require one, followed by those of its issuers, in a PEM file
    #[arg(long, help_heading = "TLS", value_name = "FILE", requires_all = ["tls", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, in a PEM file
    #[arg(long, help_heading = "TLS", value_name = "FILE", requires_all = ["tls", "tls_cert"])]
    tls_key: Option<PathBuf>,
    /// Name of the server: sent to it (SNI), and checked in its certificate [default: the host of the target]
    #[arg(long, help_heading = "TLS", value_name = "NAME", requires = "tls")]
    tls_name: Option<String>,
    /// Application protocols to offer, as in h2,http/1.1, the preferred one first; may be repeated
    #[arg(long, help_heading = "TLS", value_name = "NAMES", value_delimiter = ',', requires = "tls")]
    tls_alpn: Vec<String>,
    /// Accept every certificate. The report says so
    #[arg(long, help_heading = "TLS", requires = "tls", conflicts_with = "tls_ca")]
    tls_insecure: bool,
    /// Whether a client that reconnects resumes its last session
    #[arg(
        long,
        help_heading = "TLS",
        value_enum,
        value_name = "WHEN",
        default_value = "on",
        requires = "tls"
    )]
    tls_resumption: Resumption,
}

/// A value of `--tls-resumption`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Resumption {
    /// Resume it, as most programs do. A client's first handshake is always a full one
    On,
    /// Make a full handshake for each connection, as new clients do
    Off,
}

impl TlsArgs {
    /// TLS as requested. None without `--tls`.
    pub(crate) fn request(&self) -> Option<TlsRequest> {
        self.tls.then(|| TlsRequest {
            ca: self.tls_ca.clone(),
            identity: self.tls_cert.clone().zip(self.tls_key.clone()),
            name: self.tls_name.clone(),
            alpn: self.tls_alpn.clone(),
            is_insecure: self.tls_insecure,
            resumption: matches!(self.tls_resumption, Resumption::On),
        })
    }
}
