//! Why TLS failed, in words for the operator.

use crate::runtime::date::Date;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// The reason, and what the certificate says about it.
pub(crate) fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(fault) => certificate(fault),
        Error::AlertReceived(alert) => format!("the peer refused: {}", alert_text(*alert)),
        Error::PeerIncompatible(fault) => incompatible(fault),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the peer does not use TLS on this port".into()
        }
        Error::NoApplicationProtocol => "the peer does not offer HTTP/1.1".into(),
        other => other.to_string(),
    }
}

fn certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}", Date(not_after.as_secs()))
        }
        CertificateError::Expired => "the certificate has expired".into(),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate is not valid before {}",
            Date(not_before.as_secs())
        ),
        CertificateError::NotValidYet => "the certificate is not valid yet".into(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "the certificate is not valid for name {}, only for {}",
            expected.to_str(),
            names(presented)
        ),
        CertificateError::NotValidForName => "the certificate is not valid for the name".into(),
        CertificateError::UnknownIssuer => {
            "unknown issuer: the certificate is not signed by a trusted root; `ca` names another"
                .into()
        }
        CertificateError::BadSignature => {
            "unknown issuer: the certificate is signed by another key than that of the trusted root of this name".into()
        }
        CertificateError::Revoked => "the certificate was revoked".into(),
        other => format!("the certificate is not usable: {other}"),
    }
}

/// Names in a certificate that are shown.
const NAMES_SHOWN_MAX: usize = 5;

/// The names of a certificate, which the peer chose: few, short and printable.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name".into();
    }
    let shown = presented.iter().take(NAMES_SHOWN_MAX);
    let shown = shown.map(|name| {
        // rustls writes `DnsName("a")`, `IpAddress(1.2.3.4)`.
        let name = name.split_once('(').map_or(name.as_str(), |(_, name)| name);
        let plain = |sign: &char| sign.is_ascii_alphanumeric() || ".:-*_".contains(*sign);
        name.chars().filter(plain).take(253).collect::<String>()
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if presented.len() > NAMES_SHOWN_MAX {
        text.push_str(" and others");
    }
    text
}

fn incompatible(fault: &PeerIncompatible) -> String {
    match fault {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic => {
            "protocol version: the peer has neither TLS 1.2 nor TLS 1.3".into()
        }
        other => format!("the peer does not agree: {other:?}"),
    }
}

fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => "protocol version".into(),
        AlertDescription::HandshakeFailure => {
            "handshake failure (no common cipher, or it wants a certificate)".into()
        }
        AlertDescription::UnrecognisedName => "unrecognised name".into(),
        AlertDescription::CertificateRequired => "certificate required".into(),
        other => format!("alert {other:?}"),
    }
}
