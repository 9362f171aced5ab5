//! Credentials that expire: renewed by the control plane, read by the cores.

use crate::config::sections::auth::{Auth as Source, AwsSource};
use crate::runtime::tls::ClientSettings;
use crate::signing::auth::Auth;
use crate::signing::sigv4::{AmzDate, AwsKeys, Scope};
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A provider's credentials. Written by the control plane only.
pub struct Credentials {
    /// No two have the same.
    pub id: u64,
    /// The provider.
    pub provider: String,
    /// Where they come from.
    pub source: Source,
    /// TLS settings for the place they come from.
    pub trust: Option<ClientSettings>,
    current: ArcSwap<Current>,
    renewals: [AtomicU64; 2],
}

/// What is published.
pub enum Current {
    /// Credentials that count until a moment, in seconds since the Unix epoch.
    Valid {
        /// The credentials.
        credential: Credential,
        /// When they expire; `u64::MAX` = never.
        expires_at: u64,
    },
    /// There are none; why.
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
    /// Credentials from `source`; those that stand in the configuration are there at once.
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

    /// Takes over what a renewal gave. A failure keeps what is credential: it counts until it expires.
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

    /// Renewals that went well, and that failed.
    #[must_use]
    pub fn renewals(&self) -> [u64; 2] {
        [0, 1].map(|at: usize| self.renewals[at].load(Ordering::Relaxed))
    }

    /// When they expire, in seconds since the Unix epoch; `None` while there are none.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        match **self.current.load() {
            Current::Valid { expires_at, .. } => Some(expires_at),
            Current::Missing(_) => None,
        }
    }

    /// What is published now, to be credential for the time of one encoding.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<Current>> {
        self.current.load()
    }

    /// What `current` proves with at `now`, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Why there is nothing to prove with.
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
    fn a_failed_renewal_keeps_what_is_held_until_it_expires() {
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
