//! The files of TLS: trusted certificates, the client's certificate and its key.

use std::{path::Path, sync::Arc};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

use super::TlsError;

const CA: &str = "--tls-ca";
const CERTIFICATE: &str = "--tls-cert";
const KEY: &str = "--tls-key";

/// The certificates in the file of `--tls-ca`, at least one.
///
/// # Errors
/// When the file cannot be read, or one of its certificates cannot be used.
pub(super) fn authorities(file: &Path) -> Result<Arc<[CertificateDer<'static>]>, TlsError> {
    let certificates = certificates(CA, file)?;
    for (index, certificate) in certificates.iter().enumerate() {
        RootCertStore::empty().add(certificate.clone()).map_err(|error| {
            problem(CA, file, format!("certificate {} in it cannot be used: {error}", index + 1))
        })?;
    }
    Ok(certificates.into())
}

/// The certificates of the authorities that the system trusts, at least one.
///
/// # Errors
/// When there are none.
pub(super) fn system_authorities() -> Result<Arc<[CertificateDer<'static>]>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or("no file was found".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemAuthorities(why));
    }
    Ok(found.certs.into())
}

/// The client's certificate with the certificates of its issuers, and its key.
///
/// # Errors
/// When a file cannot be read or used, or the key is not the certificate's.
pub(super) fn certified_key(file: &Path, key_file: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificates = certificates(CERTIFICATE, file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| {
        let what = match error {
            pem::Error::NoItemsFound if has_encrypted_key(key_file) => {
                "its key is encrypted: decrypt it first, as with 'openssl pkey'".to_owned()
            }
            pem::Error::NoItemsFound => "no private key in PEM format is in it".to_owned(),
            error => unreadable(error),
        };
        problem(KEY, key_file, what)
    })?;
    CertifiedKey::from_der(certificates, key, &ring::default_provider()).map(Arc::new).map_err(|error| {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let what = format!("the key does not belong to the certificate in {}", file.display());
                problem(KEY, key_file, what)
            }
            Error::InvalidCertificate(error) => {
                problem(CERTIFICATE, file, format!("the certificate cannot be used: {error}"))
            }
            error => problem(KEY, key_file, format!("the key cannot be used: {error}")),
        }
    })
}

fn certificates(flag: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(problem(flag, file, "no certificate in PEM format is in it".to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(problem(flag, file, unreadable(error))),
    }
}

fn has_encrypted_key(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.contains("ENCRYPTED PRIVATE KEY"))
}

fn unreadable(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("it cannot be read: {error}"),
        error => format!("it is not in PEM format: {error}"),
    }
}

fn problem(flag: &'static str, file: &Path, problem: String) -> TlsError {
    TlsError::File { flag, file: file.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn each_problem_of_a_file_is_named_with_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let missing = folder.path().join("missing");
        let (certificate, empty) = (file("certificate", PEM), file("empty", ""));
        let broken = file("broken", "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let encrypted = file("encrypted", encrypted);
        let problem_of = |found: Result<(), TlsError>| match found {
            Err(TlsError::File { flag, problem, .. }) => (flag, problem),
            other => panic!("{other:?}"),
        };
        for (path, said) in [
            (&missing, "it cannot be read: "),
            (&empty, "no certificate in PEM format is in it"),
            (&broken, "it is not in PEM format: "),
            (&certificate, "certificate 1 in it cannot be used: "),
        ] {
            let (flag, problem) = problem_of(authorities(path).map(drop));
            assert!(flag == CA && problem.starts_with(said), "{flag} {}: {problem}", path.display());
        }
        for (path, key, expected_flag, said) in [
            (&missing, &encrypted, CERTIFICATE, "it cannot be read: "),
            (&empty, &encrypted, CERTIFICATE, "no certificate in PEM format is in it"),
            (&certificate, &missing, KEY, "it cannot be read: "),
            (&certificate, &empty, KEY, "no private key in PEM format is in it"),
            (&certificate, &certificate, KEY, "no private key in PEM format is in it"),
            (&certificate, &encrypted, KEY, "its key is encrypted: decrypt it first"),
        ] {
            let (flag, problem) = problem_of(certified_key(path, key).map(drop));
            assert!(flag == expected_flag && problem.starts_with(said), "{flag}: {problem}");
        }
        assert_eq!(certificates(CA, &certificate).unwrap().len(), 1);
    }
}
