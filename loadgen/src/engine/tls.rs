//! The TLS client of a target: what rustls needs for a connection, and what its errors mean.

mod certificate;
pub(crate) mod facts;
mod trouble;
mod verifier;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use common::Address;
use rustls::{
    ClientConfig, ClientConnection, Error, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    sign::CertifiedKey,
};

pub(crate) use self::trouble::FirstBytes;
use self::verifier::Verifier;
use crate::load::tls::{TlsError, TlsPlan};

/// The sessions that a client remembers: those of one server, and all tickets that rustls keeps of it.
const SESSIONS: usize = 8;

/// The TLS client of a target. A clone shares its sessions.
#[derive(Clone, Debug)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    identity: Arc<ShownIdentity>,
    /// The name that the certificate must have.
    name: ServerName<'static>,
    resumption: bool,
}

impl TlsClient {
    /// The client of a target.
    ///
    /// # Errors
    /// When the target has no name.
    pub(crate) fn new(plan: &TlsPlan, target: &Address) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier::new(&plan.trust, &provider));
        let identity = Arc::new(ShownIdentity {
            key: plan.identity.as_ref().map(|identity| identity.key.clone()),
            is_asked: AtomicBool::new(false),
        });
        let mut config = config(provider, verifier.clone(), identity.clone());
        config.alpn_protocols = plan.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
        config.resumption = Resumption::disabled();
        let name = plan.name_of(target)?;
        Ok(Self { config: Arc::new(config), verifier, identity, name, resumption: plan.resumption })
    }

    /// The same client with sessions of its own: each client of a load stands for another program.
    pub(crate) fn with_own_sessions(&self) -> Self {
        if !self.resumption {
            return self.clone();
        }
        let mut config = (*self.config).clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Self { config: Arc::new(config), ..self.clone() }
    }

    /// A new connection, which has not sent anything.
    ///
    /// # Errors
    /// What the server could not accept or does not do.
    pub(crate) fn connection(&self) -> Result<ClientConnection, String> {
        ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(|error| self.describe(&error, &FirstBytes::default()))
    }

    /// Whether this client shows a certificate if the server asks for one.
    pub(crate) fn has_identity(&self) -> bool {
        self.identity.has_certs()
    }

    /// Whether the server has asked for a certificate.
    pub(crate) fn is_asked_for_identity(&self) -> bool {
        self.identity.is_asked.load(Ordering::Relaxed)
    }

    /// An error for people: which certificate or message, why, and what to do.
    pub(crate) fn describe(&self, error: &Error, first_bytes: &FirstBytes) -> String {
        match self.verifier.rejection() {
            Some(rejection) if matches!(error, Error::InvalidCertificate(_)) => rejection,
            _ => trouble::describe(error, first_bytes, self),
        }
    }

    /// The application protocols that the client offers.
    fn alpn(&self) -> String {
        let text = |protocol: &Vec<u8>| String::from_utf8_lossy(protocol).into_owned();
        self.config.alpn_protocols.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    identity: Arc<ShownIdentity>,
) -> ClientConfig {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(identity)
}

/// The certificate that a client shows, whichever authorities the server names: the server then says what it does not like.
#[derive(Debug)]
struct ShownIdentity {
    key: Option<Arc<CertifiedKey>>,
    is_asked: AtomicBool,
}

impl ResolvesClientCert for ShownIdentity {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}
