//! Reloads when a signal asks for it.

use crate::control::dns;
use crate::control::plane::Plane;
use crate::control::reload::load;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;

/// How long a reload may take to read the file and its references.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Reloads whenever `hang_up` is signalled. The file and its references are read on a thread of their own: a file
/// system that hangs stops only reloads.
pub(crate) async fn reload_on(mut hang_up: Signal, plane: Arc<Plane>) {
    while hang_up.recv().await.is_some() {
        let path = plane.reload.lock().path.clone();
        let loaded = match path {
            None => Err("there is no configuration file to reload".into()),
            Some(path) => {
                let reading = tokio::task::spawn_blocking(move || load(&path));
                match tokio::time::timeout(READ_WITHIN, reading).await {
                    Ok(loaded) => loaded.unwrap_or_else(|_| Err("reading it panicked".into())),
                    Err(_) => Err(format!(
                        "the file and its references could not be read within {READ_WITHIN:?} (READ_WITHIN)"
                    )),
                }
            }
        };
        plane.reload.lock().apply(loaded, &plane.shared);
        let hosts = plane.reload.lock().hosts();
        tokio::task::spawn_local(async move { dns::resolve(&hosts).await });
    }
}
