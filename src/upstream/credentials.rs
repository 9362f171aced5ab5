//! Credentials that expire: the control plane renews them, the cores read them.

use crate::config::sections::auth::{Auth as Source, AwsSource};
use crate::runtime::tls::ClientSettings;
use crate::signing::auth::Auth;
use crate::signing::sigv4::{AmzDate, AwsKeys, Scope};
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A provider's credentials. Written by the control plane only.
pub struct Credentials {
    /// Unique among all credentials.
    pub id: u64,
    /// The provider.
    pub provider: String,
    /// The source of the credentials.
    pub source: Source,
    /// TLS settings for requests to the source.
    pub trust: Option<ClientSettings>,
    current: ArcSwap<Current>,
    renewals: [AtomicU64; 2],
}

/// The published state.
pub enum Current {
    /// Credentials that are valid until a time in seconds since the Unix epoch.
    Valid {
        /// The credentials.
        credential: Credential,
        /// The expiry; `u64::MAX` means never.
        expires_at: u64,
    },
    /// There are no credentials; the reason.
    Missing(String),
}

/// Credentials.
#[derive(PartialEq, Eq)]
pub enum Credential {
    /// A bearer token.
    Token(String),
    /// AWS keys.
    Aws(AwsKeys),
}

impl Credentials {
    /// Credentials from `source`; those in the configuration are available at once.
    #[must_use]
    pub fn new(id: u64, provider: &str, source: Source, trust: Option<ClientSettings>) -> Self {
        let current = match &source {
            Source::Aws(aws) => match &aws.source {
                AwsSource::Fixed(keys) => Current::Valid {
                    credential: Credential::Aws(AwsKeys::new(
                        &keys.access_key_id.0,
                        &keys.secret_access_key.0,
                        keys.session_token.as_ref().map(|token| token.0.as_str()),
                    )),
                    expires_at: u64::MAX,
                },
                AwsSource::Container(_) => not_yet(),
            },
            Source::Google(_) | Source::Entra(_) => not_yet(),
        };
        Self {
            id,
            provider: provider.to_owned(),
            source,
            trust,
            current: ArcSwap::from_pointee(current),
            renewals: Default::default(),
        }
    }

    /// Records the result of a renewal. After a failed renewal the current credentials stay valid until they expire.
    pub fn update(&self, renewed: Result<(Credential, u64), String>) {
        let [good, failed] = &self.renewals;
        let counted = if renewed.is_ok() { good } else { failed };
        counted.fetch_add(1, Ordering::Relaxed);
        match renewed {
            Ok((credential, expires_at)) => {
                self.current.store(Arc::new(Current::Valid {
                    credential,
                    expires_at,
                }));
            }
            Err(why) => {
                if let Current::Missing(_) = **self.current.load() {
                    self.current.store(Arc::new(Current::Missing(why)));
                }
            }
        }
    }

    /// The numbers of successful and failed renewals.
    #[must_use]
    pub fn renewals(&self) -> [u64; 2] {
        [0, 1].map(|at: usize| self.renewals[at].load(Ordering::Relaxed))
    }

    /// The expiry, in seconds since the Unix epoch; `None` while there are no credentials.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        match **self.current.load() {
            Current::Valid { expires_at, .. } => Some(expires_at),
            Current::Missing(_) => None,
        }
    }

    /// The published state, to be held while one request is encoded.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Current>> {
        self.current.load()
    }

    /// The credentials of `current` that are valid at `now`, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Why there are no valid credentials.
    pub fn auth<'c>(&'c self, current: &'c Current, now: u64) -> Result<Auth<'c>, String> {
        match current {
            Current::Missing(why) => Err(why.clone()),
            Current::Valid { expires_at, .. } if *expires_at <= now => {
                Err("they have expired and could not be renewed".into())
            }
            Current::Valid { credential, .. } => match (credential, &self.source) {
                (Credential::Token(token), _) => Ok(Auth::Bearer(token)),
                (Credential::Aws(keys), Source::Aws(aws)) => Ok(Auth::Aws {
                    keys,
                    scope: Scope {
                        region: &aws.scope.region,
                        service: &aws.scope.service,
                    },
                    at: AmzDate::from_unix(now),
                }),
                (Credential::Aws(_), _) => Err("they are of the wrong kind".into()),
            },
        }
    }
}

fn not_yet() -> Current {
    Current::Missing("not fetched yet".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::base_url::BaseUrl;
    use crate::config::secret::Secret;
    use crate::config::sections::auth::EntraAuth;

    #[test]
    fn after_a_failed_renewal_the_credentials_last_until_they_expire() {
        let source = Source::Entra(EntraAuth {
            token_url: BaseUrl {
                tls: false,
                host: "h".into(),
                port: 1,
                path: String::new(),
                authority: "h".into(),
            },
            client_id: "c".into(),
            client_secret: Secret("s".into()),
            scope: "x".into(),
        });
        let credentials = Credentials::new(1, "p", source, None);
        let token = |now: u64| {
            let current = credentials.current();
            match credentials.auth(&current, now) {
                Ok(Auth::Bearer(token)) => Ok(token.to_owned()),
                Ok(_) => panic!("no token"),
                Err(why) => Err(why),
            }
        };
        assert!(token(0).unwrap_err().contains("not fetched"));
        credentials.update(Err("status 503".into()));
        assert_eq!(token(0).unwrap_err(), "status 503");
        credentials.update(Ok((Credential::Token("a".into()), 100)));
        credentials.update(Err("status 503".into()));
        assert_eq!(token(99).unwrap(), "a");
        assert!(token(100).unwrap_err().contains("expired"));
        credentials.update(Ok((Credential::Token("b".into()), 200)));
        assert_eq!(token(100).unwrap(), "b");
        assert_eq!(credentials.renewals(), [2, 2]);
    }
}
