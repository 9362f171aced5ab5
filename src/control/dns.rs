//! Names to addresses. Only here: the data plane sees nothing but addresses.

use crate::control::plane::Plane;
use crate::upstream::endpoint::Addresses;
use std::sync::Arc;
use std::time::Duration;

/// How often names are looked up again. The system's resolver does not tell how long an answer holds.
const EVERY: Duration = Duration::from_secs(30);
/// How often, while some name has no address yet.
const EVERY_UNTIL_KNOWN: Duration = Duration::from_secs(2);
/// How long one look-up may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Looks up every name in turn, for ever.
pub(crate) async fn keep_resolving(plane: Arc<Plane>) {
    loop {
        let hosts: Vec<Arc<Addresses>> = plane.reload.lock().hosts();
        let all_known = resolve(&hosts).await;
        let pause = if all_known { EVERY } else { EVERY_UNTIL_KNOWN };
        tokio::time::sleep(pause).await;
    }
}

/// Looks up `hosts` once, all at a time; true if each has an address then.
pub(crate) async fn resolve(hosts: &[Arc<Addresses>]) -> bool {
    let looked_up: Vec<_> = hosts
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
    for one in looked_up {
        let _ = one.await;
    }
    hosts.iter().all(|host| host.pick().is_ok())
}
