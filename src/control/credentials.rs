//! Renews credentials before they expire. The data plane uses the published ones until they expire, whether or not a
//! renewal succeeds.

use crate::config::secret::Renewable;
use crate::config::sections::auth::{Auth, AwsSource};
use crate::control::http_call::call;
use crate::control::log;
use crate::control::plane::Plane;
use crate::control::token;
use crate::runtime::clock;
use crate::upstream::credentials::Credential;
use crate::upstream::credentials::Credentials;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How often the schedule is checked.
const EVERY: Duration = Duration::from_millis(500);
/// Credentials are renewed when a quarter of their time is left, or this if that is less.
const LEAD_MAX: Duration = Duration::from_secs(300);
/// Wait after a renewal that failed; twice as long each time …
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// … up to this.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);
/// Longest file that holds a container's token, in bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 64 * 1024;
/// How long reading it may take.
const TOKEN_FILE_WITHIN: Duration = Duration::from_secs(5);
/// Reads of such files at once: a file system that hangs holds so many threads.
static TOKEN_FILE_TURNS: Semaphore = Semaphore::const_new(8);

/// When each renewal is due, by the id of the credentials.
#[derive(Default)]
pub(crate) struct Schedule(HashMap<u64, Due>);

struct Due {
    at: Instant,
    failures: u32,
}

impl Schedule {
    /// Renews the credentials that are due, in parallel.
    pub(crate) async fn run(&mut self, credentials: Vec<Arc<Credentials>>) {
        self.0
            .retain(|id, _| credentials.iter().any(|current| current.id == *id));
        let now = clock::now();
        let due: Vec<_> = credentials
            .into_iter()
            .filter(|credentials| credentials.source.token_url().is_some())
            .filter(|credentials| self.is_due(credentials.id, now))
            .map(|credentials| {
                tokio::task::spawn_local(async move {
                    let renewed = renew(&credentials).await;
                    (credentials, renewed)
                })
            })
            .collect();
        for renewal in due {
            if let Ok((credentials, renewed)) = renewal.await {
                self.publish(&credentials, renewed);
            }
        }
    }

    fn is_due(&self, id: u64, now: Instant) -> bool {
        self.0.get(&id).is_none_or(|due| due.at <= now)
    }

    /// Publishes the result of a renewal and schedules the next one.
    fn publish(&mut self, credentials: &Credentials, renewed: Result<(Credential, u64), String>) {
        let before = self.0.get(&credentials.id).map_or(0, |due| due.failures);
        let provider = &credentials.provider;
        let (wait, failures) = match &renewed {
            Ok((_, expires_at)) => {
                if before > 0 {
                    let facts = serde_json::json!({ "provider": provider });
                    log::event("credentials_renewed_again", &facts);
                }
                let left = Duration::from_secs(*expires_at).saturating_sub(clock::since_epoch());
                (time_to_renewal(left), 0)
            }
            Err(why) => {
                let wait = AGAIN_AFTER * 2u32.saturating_pow(before.min(16));
                let wait = wait.min(AGAIN_AFTER_MAX);
                let facts = serde_json::json!({
                    "provider": provider,
                    "reason": why,
                    "again_after_s": wait.as_secs(),
                    "expire_at_s": credentials.expires_at(),
                });
                log::event("credentials_not_renewed", &facts);
                (wait, before + 1)
            }
        };
        credentials.update(renewed);
        let at = clock::now() + wait;
        self.0.insert(credentials.id, Due { at, failures });
    }
}

/// How long to wait with the renewal of credentials that are valid for `left`.
fn time_to_renewal(left: Duration) -> Duration {
    left - (left / 4).min(LEAD_MAX)
}

/// Renews credentials for ever.
pub(crate) async fn keep_renewing(plane: Arc<Plane>, mut schedule: Schedule) {
    loop {
        let credentials = plane.reload.lock().credentials();
        schedule.run(credentials).await;
        tokio::time::sleep(EVERY).await;
    }
}

/// Fetches credentials once.
async fn renew(credentials: &Credentials) -> Result<(Credential, u64), String> {
    let source = &credentials.source;
    let authorization = match source {
        Auth::Aws(aws) => match &aws.source {
            AwsSource::Container(container) => match &container.token {
                Some(token) => Some(current(token).await?),
                None => None,
            },
            AwsSource::Fixed(_) => None,
        },
        Auth::Google(_) | Auth::Entra(_) => None,
    };
    let sent_at = clock::since_epoch().as_secs();
    let request = token::request(source, sent_at, authorization)?;
    let request = request.ok_or("they are not fetched from anywhere")?;
    let response = call(request, credentials.trust.clone()).await?;
    // The lifetime counts from when the request was sent: too early is safe.
    token::read(source, &response, sent_at)
}

/// The present value of a container's token.
async fn current(token: &Renewable) -> Result<String, String> {
    let path = match token {
        Renewable::Fixed(secret) => return Ok(secret.0.clone()),
        Renewable::File(path) => path.clone(),
    };
    let read = async {
        let turn = TOKEN_FILE_TURNS.acquire().await.map_err(|_| "stopped")?;
        let read = tokio::task::spawn_blocking(move || {
            let text = read_token(&path);
            drop(turn);
            text
        });
        read.await.map_err(|_| "the thread ended".to_owned())?
    };
    tokio::time::timeout(TOKEN_FILE_WITHIN, read)
        .await
        .unwrap_or_else(|_| {
            Err(format!(
                "the token's file could not be read within {TOKEN_FILE_WITHIN:?} (TOKEN_FILE_WITHIN)"
            ))
        })
}

fn read_token(path: &std::path::Path) -> Result<String, String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| format!("the token's file cannot be read: {error}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_well_before_they_expire() {
        let cases = [
            (0, 0.0),
            (4, 3.0),
            (600, 450.0),
            (1200, 900.0),
            (3600, 3300.0),
            (86_400, 86_100.0),
        ];
        for (lifetime, renewed) in cases {
            let wait = time_to_renewal(Duration::from_secs(lifetime)).as_secs_f64();
            assert!((wait - renewed).abs() < 1e-9, "{lifetime}: {wait}");
        }
    }
}
