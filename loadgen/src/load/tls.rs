//! TLS as the user requests it, and its validated plan: the certificates, the key, and the name of the server.

mod files;

use std::{path::PathBuf, sync::Arc};

use common::Address;
use rustls::{
    pki_types::{CertificateDer, ServerName},
    sign::CertifiedKey,
};

/// The longest name of an application protocol (RFC 7301, 3.1).
const ALPN_BYTES_MAX: usize = 255;

/// TLS as the user requests it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsRequest {
    /// The file with the trusted certificates. None: the system's.
    pub ca: Option<PathBuf>,
    /// The files with the client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the certificate must have. None: the target's host.
    pub name: Option<String>,
    /// The application protocols that the client offers, the preferred one first.
    pub alpn: Vec<String>,
    /// No certificate is checked.
    pub is_insecure: bool,
    /// A client that reconnects resumes its last session.
    pub resumption: bool,
}

/// How clients use TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsPlan {
    /// Which certificates the clients accept.
    pub trust: Trust,
    /// The certificate that the clients show, with its key.
    pub identity: Option<Identity>,
    /// The name that the certificate must have. None: the target's host.
    pub name: Option<ServerName<'static>>,
    /// See [`TlsRequest::alpn`].
    pub alpn: Vec<String>,
    /// See [`TlsRequest::resumption`].
    pub resumption: bool,
}

/// Which certificates of servers the clients accept.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// Those of an authority that the system trusts.
    System(Arc<[CertificateDer<'static>]>),
    /// Those of an authority in this file, and the certificates in the file themselves.
    File(PathBuf, Arc<[CertificateDer<'static>]>),
    /// Every certificate.
    Anything,
}

/// The certificate that a client shows, with its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The file with the certificate.
    pub file: PathBuf,
    /// The certificate and its key.
    pub key: Arc<CertifiedKey>,
}

/// Why a request of TLS is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsError {
    /// loadgen's own server.
    #[error(
        "--tls needs a server that speaks TLS, and loadgen's own server does not: give a target{}",
        if *.with_commands { ", or a server with --server" } else { "" }
    )]
    OwnServer {
        /// The command also starts other servers.
        with_commands: bool,
    },
    /// `--kernel-timestamps` with TLS.
    #[error(
        "--kernel-timestamps cannot be used with --tls: the kernel sees TLS records, not replies; remove one of them"
    )]
    KernelTimestamps,
    /// A unix socket, which has no host.
    #[error("{0} has no host name for the server's certificate: add --tls-name NAME")]
    NoName(Address),
    /// The name is neither a host name nor an IP address.
    #[error("'{0}' cannot be the name of a TLS server: give a host name or an IP address with --tls-name")]
    BadName(String),
    /// An application protocol without a name, or with a name that is too long.
    #[error("--tls-alpn '{0}' is not a protocol: its name must have 1 to {ALPN_BYTES_MAX} bytes, as in h2")]
    BadAlpn(String),
    /// A file cannot be used.
    #[error("{flag} {}: {problem}", file.display())]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The system trusts no certificate authority.
    #[error(
        "this system has no certificate authorities ({0}): install the package ca-certificates, or name a file with \
         --tls-ca"
    )]
    NoSystemAuthorities(String),
}

impl TlsRequest {
    /// Makes the plan: reads and checks the files.
    ///
    /// # Errors
    /// When a file cannot be used, or a name is invalid.
    pub(crate) fn plan(&self) -> Result<TlsPlan, TlsError> {
        let is_bad = |protocol: &&String| protocol.is_empty() || protocol.len() > ALPN_BYTES_MAX;
        if let Some(protocol) = self.alpn.iter().find(is_bad) {
            return Err(TlsError::BadAlpn(protocol.clone()));
        }
        let trust = match &self.ca {
            _ if self.is_insecure => Trust::Anything,
            Some(file) => Trust::File(file.clone(), files::authorities(file)?),
            None => Trust::System(files::system_authorities()?),
        };
        let identity = |(file, key): &(PathBuf, PathBuf)| {
            Ok(Identity { file: file.clone(), key: files::certified_key(file, key)? })
        };
        Ok(TlsPlan {
            trust,
            identity: self.identity.as_ref().map(identity).transpose()?,
            name: self.name.as_deref().map(server_name).transpose()?,
            alpn: self.alpn.clone(),
            resumption: self.resumption,
        })
    }
}

impl TlsPlan {
    /// The name that the certificate of this target must have. The client also sends it to the server (SNI) unless it is an
    /// IP address.
    ///
    /// # Errors
    /// When the target has no name, and the plan has none.
    pub(crate) fn name_of(&self, target: &Address) -> Result<ServerName<'static>, TlsError> {
        match (&self.name, target) {
            (Some(name), _) => Ok(name.clone()),
            (None, Address::Unix(_)) => Err(TlsError::NoName(target.clone())),
            (None, Address::Tcp { host, .. }) => server_name(host),
        }
    }
}

/// A zone is no part of a name.
fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let host_only = host.split_once('%').map_or(host, |(address, _zone)| address);
    ServerName::try_from(host_only.to_owned()).map_err(|_| TlsError::BadName(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::TlsSummary;

    fn plan(name: Option<&str>) -> TlsPlan {
        let name = name.map(str::to_owned);
        TlsRequest { is_insecure: true, name, ..TlsRequest::default() }.plan().unwrap()
    }

    fn name_of(plan: &TlsPlan, target: &str) -> String {
        match plan.name_of(&target.parse().unwrap()) {
            Ok(name) => name.to_str().into_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_name_is_the_targets_host_unless_one_is_given() {
        for (target, name) in [
            ("db.example:443", "db.example"),
            ("127.0.0.1:443", "127.0.0.1"),
            ("[::1]:443", "::1"),
            ("[fe80::1%lo]:443", "fe80::1"),
            ("unix:/x", "unix:/x has no host name for the server's certificate: add --tls-name NAME"),
        ] {
            assert_eq!(name_of(&plan(None), target), name);
        }
        assert_eq!(name_of(&plan(Some("other")), "unix:/x"), "other");
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let request = || TlsRequest { is_insecure: true, ..TlsRequest::default() };
        let name = Some("a b".to_owned());
        let error = TlsRequest { name, ..request() }.plan().unwrap_err();
        assert_eq!(error, TlsError::BadName("a b".to_owned()));
        let alpn = vec!["h2".to_owned(), String::new()];
        let error = TlsRequest { alpn, ..request() }.plan().unwrap_err();
        assert_eq!(error, TlsError::BadAlpn(String::new()));
        let alpn = |length| TlsRequest { alpn: vec!["x".repeat(length)], ..request() }.plan();
        assert_eq!(alpn(256).unwrap_err(), TlsError::BadAlpn("x".repeat(256)));
        assert!(alpn(255).is_ok());
    }

    #[test]
    fn authorities_are_read_unless_anything_is_trusted() {
        let with = |is_insecure| TlsRequest {
            ca: Some("/nonexistent".into()),
            is_insecure,
            ..TlsRequest::default()
        };
        assert!(matches!(with(true).plan().unwrap().trust, Trust::Anything));
        assert!(matches!(with(false).plan().unwrap_err(), TlsError::File { flag: "--tls-ca", .. }));
        let plan = TlsRequest {
            name: Some("db.example".to_owned()),
            alpn: vec!["h2".to_owned()],
            is_insecure: true,
            ..TlsRequest::default()
        };
        let summary = TlsSummary::of(&plan.plan().unwrap());
        let expected = TlsSummary {
            insecure: true,
            ca: None,
            client_certificate: None,
            name: Some("db.example".to_owned()),
            alpn: vec!["h2".to_owned()],
            resumption: false,
        };
        assert_eq!(summary, expected);
    }
}
