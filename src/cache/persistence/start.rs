//! Starts the threads of the cache's folder and connects the store with them.
//!
//! A deleted entry stays deleted: deletions are records too, and when a record that may be a deletion is
//! damaged, all older records are discarded. It must not know requests.

use crate::cache::disk::folder::Folder;
use crate::cache::disk::handle::DiskHandle;
use crate::cache::persistence::loader::Loader;
use crate::cache::persistence::tiers::CacheTiers;
use crate::cache::persistence::writer::Writer;
use std::sync::Arc;

type ThreadBody = Box<dyn FnOnce() + Send>;

/// Starts a thread that writes to the folder and a thread that recovers its entries. The store persists to
/// the folder from now on.
///
/// # Errors
/// A thread could not be started.
pub(crate) fn start(
    folder: Folder,
    bytes_max: u64,
    tiers: CacheTiers,
) -> Result<Arc<DiskHandle>, String> {
    let (disk, receiver) = DiskHandle::new(folder.secrets.keys.clone(), bytes_max);
    let disk = Arc::new(disk);
    tiers.store.set_disk(Arc::clone(&disk));
    let folder = Arc::new(folder);
    let segments = folder.segments();
    let writer = Writer::new(Arc::clone(&folder), &segments, &disk);
    let store = Arc::downgrade(&tiers.store);
    let loader = Loader {
        folder,
        tiers,
        disk: Arc::clone(&disk),
    };
    let threads: [(&str, ThreadBody); 2] = [
        (
            "cache-write",
            Box::new(move || writer.run(&receiver, &store)),
        ),
        ("cache-read", Box::new(move || loader.run(&segments))),
    ];
    for (name, body) in threads {
        let spawned = std::thread::Builder::new().name(name.into()).spawn(body);
        spawned.map_err(|error| format!("no thread for the cache's folder: {error}"))?;
    }
    Ok(disk)
}
