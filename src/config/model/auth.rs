//! Credentials of a provider that are not one fixed header, as they were validated.
//!
//! It must not know how they are used (`signing/`, `control/`).

use crate::config::model::config::{BaseUrl, Secret};
use std::path::PathBuf;

/// `[[providers]] auth`: credentials that are not one fixed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Requests are signed.
    Aws(AwsAuth),
    /// A bearer token for a Google service account.
    Google(GoogleAuth),
    /// A bearer token for an application in Microsoft Entra.
    Entra(EntraAuth),
}

impl Auth {
    /// Where they are fetched; `None` for those that stand in the configuration.
    #[must_use]
    pub fn token_url(&self) -> Option<&BaseUrl> {
        match self {
            Self::Aws(aws) => match &aws.source {
                AwsSource::Fixed { .. } => None,
                AwsSource::Container { url, .. } => Some(url),
            },
            Self::Google(google) => Some(&google.token_url),
            Self::Entra(entra) => Some(&entra.token_url),
        }
    }
}

/// `kind = "aws"` and `kind = "aws-container"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsAuth {
    /// Region that is signed for.
    pub region: String,
    /// Service that is signed for.
    pub service: String,
    /// Where the keys come from.
    pub source: AwsSource,
}

/// Where AWS keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsSource {
    /// The configuration.
    Fixed {
        /// Access key id.
        access_key_id: Secret,
        /// Secret access key.
        secret_access_key: Secret,
        /// Session token of temporary keys.
        session_token: Option<Secret>,
    },
    /// An endpoint of the container's host (ECS, EKS Pod Identity).
    Container {
        /// The endpoint.
        url: BaseUrl,
        /// Value of the `authorization` header.
        token: Option<Renewable>,
    },
}

/// A secret that may change while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewable {
    /// From the environment: it cannot.
    Fixed(Secret),
    /// From a file, read again at each use.
    File(PathBuf),
}

/// `kind = "google"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleAuth {
    /// The account's e-mail address.
    pub email: String,
    /// Id of the key.
    pub key_id: Option<String>,
    /// Private key, PKCS#8 DER in base64 without line breaks.
    pub key: Secret,
    /// Where tokens are given.
    pub token_url: BaseUrl,
    /// What the token is for.
    pub scope: String,
}

/// `kind = "entra"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntraAuth {
    /// Where tokens are given.
    pub token_url: BaseUrl,
    /// Application (client) id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// What the token is for.
    pub scope: String,
}
