//! Certificates in words: whose they are, and why one is rejected.

use std::time::{Duration, UNIX_EPOCH};

use rustls::{
    CertificateError,
    pki_types::{CertificateDer, ServerName},
};
use x509_parser::{
    extensions::GeneralName,
    parse_x509_certificate,
    prelude::{ASN1Time, X509Certificate},
};

/// When a certificate becomes valid and when it expires, in seconds since 1970. None if it cannot be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).ok();
    Some((seconds(validity.not_before)?, seconds(validity.not_after)?))
}

/// Why a server's certificate is rejected, and what to do.
pub(super) fn rejected(
    certificate: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    error: &CertificateError,
) -> String {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
        return format!("the server's certificate cannot be read: {error}");
    };
    let whose = whose(&parsed);
    let (not_before, not_after) = validity(certificate).unwrap_or_default();
    match error {
        // webpki has no kind of its own for a certificate that is also an authority's.
        CertificateError::UnknownIssuer | CertificateError::Other(_)
            if parsed.issuer() == parsed.subject() =>
        {
            format!(
                "the certificate of {whose} is signed by itself and not trusted: name its file with --tls-ca, or use \
                 --tls-insecure"
            )
        }
        CertificateError::UnknownIssuer => {
            // The last certificate of the chain names the missing authority.
            let last = issuers.last().and_then(|last| parse_x509_certificate(last).ok());
            let issuer = last.as_ref().map_or(parsed.issuer(), |(_, last)| last.issuer());
            format!(
                "the certificate of {whose} is issued by an authority that is not trusted, \"{issuer}\": name the file with \
                 the authority's certificate with --tls-ca, or use --tls-insecure"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let chain = [&parsed];
            let issuers: Vec<_> =
                issuers.iter().filter_map(|issuer| Some(parse_x509_certificate(issuer).ok()?.1)).collect();
            expired(chain.into_iter().chain(&issuers), not_after)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of {whose} is not valid before {}: check the clocks, or renew it",
            date(not_before)
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = names(&parsed);
            let has = match names.is_empty() {
                true => "it has no name for a host or an IP address".to_owned(),
                false => format!("it is for {}", names.join(", ")),
            };
            format!(
                "the certificate of {whose} is not for '{}': {has}; --tls-name NAME sets the name to check",
                name.to_str()
            )
        }
        other => format!("the certificate of {whose} is rejected: {other}"),
    }
}

/// Which certificate of the chain has expired. `not_after` is the server's own.
fn expired<'a>(mut chain: impl Iterator<Item = &'a X509Certificate<'a>>, not_after: u64) -> String {
    let has_expired = |certificate: &&X509Certificate<'_>| {
        certificate.validity().not_after.timestamp() < ASN1Time::now().timestamp()
    };
    let found = chain.find(has_expired);
    let whose = found.map_or("the server".to_owned(), whose);
    let since = found.and_then(|found| u64::try_from(found.validity().not_after.timestamp()).ok());
    format!("the certificate of {whose} expired on {}: renew it", date(since.unwrap_or(not_after)))
}

/// The subject of a certificate. Many certificates have only alternative names.
fn whose(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject().to_string();
    match names(certificate).into_iter().next() {
        Some(name) if subject.is_empty() => format!("\"{name}\""),
        None if subject.is_empty() => "the server".to_owned(),
        _ => format!("\"{subject}\""),
    }
}

/// The hosts and IP addresses that a certificate is for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(name).collect()
}

/// The day and the time, UTC.
fn date(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
