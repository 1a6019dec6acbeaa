//! The check of a server's certificate. It remembers for people why it rejected one.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::certificate;
use crate::load::tls::Trust;

/// The check of a server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
    /// Why the first rejected certificate was rejected.
    rejection: OnceLock<String>,
}

#[derive(Debug)]
enum Check {
    /// An authority must have issued the certificate, or it is one of the trusted ones itself.
    Issued { by: Arc<WebPkiServerVerifier>, trusted: Arc<[CertificateDer<'static>]> },
    /// No certificate can be valid: this is the error of each one.
    Never(String),
    /// Nothing is checked.
    Nothing,
}

impl Verifier {
    /// The check for these trusted certificates.
    pub(super) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Self {
        let check = match trust {
            // A system's own authority is never the certificate of a server.
            Trust::System(authorities) => Check::issued(authorities, Arc::from([]), provider),
            Trust::File(_, certificates) => Check::issued(certificates, certificates.clone(), provider),
            Trust::Anything => Check::Nothing,
        };
        Self { check, provider: provider.clone(), rejection: OnceLock::new() }
    }

    /// Why the first rejected certificate was rejected. None if there was none.
    pub(super) fn rejection(&self) -> Option<String> {
        self.rejection.get().cloned()
    }
}

impl Check {
    fn issued(
        authorities: &[CertificateDer<'static>],
        trusted: Arc<[CertificateDer<'static>]>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        // Some of a system's certificates may be too old for any use.
        roots.add_parsable_certificates(authorities.iter().cloned());
        match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build() {
            Ok(by) => Check::Issued { by, trusted },
            Err(error) => Check::Never(format!("no trusted certificate authority can be used: {error}")),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = match &self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::Never(why) => Err(Error::General(why.clone())),
            Check::Issued { trusted, .. } if trusted.contains(certificate) => {
                verify_itself(certificate, name, now)
            }
            Check::Issued { by, .. } => by.verify_server_cert(certificate, issuers, name, ocsp_response, now),
        };
        if let Err(Error::InvalidCertificate(error)) = &verified {
            self.rejection.get_or_init(|| certificate::rejected(certificate, issuers, name, error));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The user trusts this very certificate: nobody else has to have issued it. `openssl req -x509` makes such certificates,
/// and marks them as authorities, which webpki accepts of no server.
fn verify_itself(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    match certificate::validity(certificate) {
        Some((not_before, _)) if now.as_secs() < not_before => Err(CertificateError::NotValidYet.into()),
        Some((_, not_after)) if now.as_secs() > not_after => Err(CertificateError::Expired.into()),
        Some(_) => Ok(ServerCertVerified::assertion()),
        None => Err(CertificateError::BadEncoding.into()),
    }
}
