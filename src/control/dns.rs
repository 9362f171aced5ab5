//! Resolves the names of providers. The data plane uses addresses only.

use crate::control::plane::Plane;
use crate::upstream::endpoint::Addresses;
use std::sync::Arc;
use std::time::Duration;

/// How often names are resolved again. The system's resolver does not report how long a result is valid.
const EVERY: Duration = Duration::from_secs(30);
/// How often while some name has no address yet.
const EVERY_UNTIL_KNOWN: Duration = Duration::from_secs(2);
/// How long resolving one name may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Resolves all names for ever.
pub(crate) async fn keep_resolving(plane: Arc<Plane>) {
    loop {
        let hosts: Vec<Arc<Addresses>> = plane.reload.lock().hosts();
        let all_known = resolve(&hosts).await;
        let pause = if all_known { EVERY } else { EVERY_UNTIL_KNOWN };
        tokio::time::sleep(pause).await;
    }
}

/// Resolves `hosts` once, in parallel; true if each has an address then.
pub(crate) async fn resolve(hosts: &[Arc<Addresses>]) -> bool {
    let lookups: Vec<_> = hosts
        .iter()
        .map(|host| {
            let host = Arc::clone(host);
            tokio::task::spawn_local(async move {
                let found = tokio::net::lookup_host((host.host.as_str(), host.port));
                let found = match tokio::time::timeout(WITHIN, found).await {
                    Ok(Ok(addresses)) => Ok(addresses.collect()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err(format!("the resolver did not answer within {WITHIN:?}")),
                };
                host.update(found);
            })
        })
        .collect();
    for lookup in lookups {
        let _ = lookup.await;
    }
    hosts.iter().all(|host| host.pick().is_ok())
}
