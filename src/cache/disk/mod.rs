//! The format of the cache's folder, and the handle through which the store writes to it.
//! It must not know the store or the threads that read and write.

pub(crate) mod bytes;
pub(crate) mod deletion;
pub(crate) mod folder;
pub(crate) mod handle;
pub(crate) mod record;
pub(crate) mod response_record;
