//! Resolves the names of providers. The data plane uses addresses only.

use crate::control::plane::Plane;
use crate::runtime::clock;
use crate::upstream::endpoint::Addresses;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often names are resolved again. The system's resolver does not report how long a result is valid.
const EVERY: Duration = Duration::from_secs(30);
/// How often while some name has no address yet.
const EVERY_UNTIL_KNOWN: Duration = Duration::from_secs(2);
/// How often at most after connections failed: the name may have moved.
const EVERY_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often it is checked which names are due.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// How long resolving one name may take. A result that comes later is still used.
const WITHIN: Duration = Duration::from_secs(10);

/// When the last look-up of each name began, by name and port.
#[derive(Default)]
struct Schedule(HashMap<(String, u16), Instant>);

impl Schedule {
    /// Whether `host` is to be looked up now.
    fn is_due(&self, host: &Addresses, now: Instant) -> bool {
        let Some(began_at) = self.0.get(&(host.host.clone(), host.port)) else {
            return true;
        };
        let pause = if host.wants_look_up() {
            EVERY_AFTER_FAILURE
        } else if host.pick().is_err() {
            EVERY_UNTIL_KNOWN
        } else {
            EVERY
        };
        now.saturating_duration_since(*began_at) >= pause
    }

    fn begun(&mut self, host: &Addresses, now: Instant) {
        self.0.insert((host.host.clone(), host.port), now);
    }
}

/// Resolves all names for ever.
pub(crate) async fn keep_resolving(plane: Arc<Plane>) {
    let mut schedule = Schedule::default();
    loop {
        let now = clock::now();
        let mut due: Vec<Arc<Addresses>> = plane.reload.lock().hosts();
        due.retain(|host| schedule.is_due(host, now));
        for host in due {
            schedule.begun(&host, now);
            tokio::task::spawn_local(look_up(host));
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

/// Resolves `hosts` once, in parallel.
pub(crate) async fn resolve(hosts: &[Arc<Addresses>]) {
    let look_ups: Vec<_> = hosts
        .iter()
        .map(|host| tokio::task::spawn_local(look_up(Arc::clone(host))))
        .collect();
    for look_up in look_ups {
        let _ = look_up.await;
    }
}

/// Resolves one name, unless that is being done: a resolver that hangs holds one thread for each name.
async fn look_up(host: Arc<Addresses>) {
    if !host.begin_look_up() {
        return;
    }
    let mut found = pin!(tokio::net::lookup_host((host.host.as_str(), host.port)));
    let in_time = tokio::time::timeout(WITHIN, found.as_mut()).await;
    let found = match in_time {
        Ok(found) => found,
        Err(_) => {
            host.update(Err(format!(
                "the resolver did not answer within {WITHIN:?}"
            )));
            found.await
        }
    };
    host.update(match found {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(error.to_string()),
    });
    host.end_look_up();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_due_soon_after_a_failed_connection_and_seldom_otherwise() {
        let host = Addresses::new("api.example", 443);
        let mut schedule = Schedule::default();
        let began = clock::now();
        assert!(schedule.is_due(&host, began));
        schedule.begun(&host, began);
        assert!(!schedule.is_due(&host, began + EVERY_UNTIL_KNOWN / 2));
        assert!(schedule.is_due(&host, began + EVERY_UNTIL_KNOWN));
        host.update(Ok(vec!["1.2.3.4:443".parse().unwrap()]));
        assert!(!schedule.is_due(&host, began + EVERY / 2));
        assert!(schedule.is_due(&host, began + EVERY));
        host.request_look_up();
        assert!(!schedule.is_due(&host, began + EVERY_AFTER_FAILURE / 2));
        assert!(schedule.is_due(&host, began + EVERY_AFTER_FAILURE));
        assert!(host.begin_look_up());
        assert!(!host.begin_look_up(), "one look-up of a name at a time");
        assert!(!host.wants_look_up());
        host.end_look_up();
        assert!(host.begin_look_up());
    }
}
