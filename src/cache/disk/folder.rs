//! The cache's folder: its lock, its secrets, its segment files. Must not know records.

use crate::cache::key::HashSecret;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64_with_secret;

/// Bytes of the file of secrets: one secret for keys, one for checksums.
const SECRETS_BYTES: usize = 2 * HashSecret::BYTES;
const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_FOLDER: u32 = 0o700;
/// The permissions of all but the owner.
const OF_OTHERS: u32 = 0o077;
/// The files of the folder beside segments.
const FILES: [&str; 3] = ["lock", "secret", "secret.new"];

/// The secrets of one folder. Its records cannot be read with the secrets of another.
#[derive(Clone)]
pub(crate) struct Secrets {
    /// Secret of the keys of entries.
    pub keys: HashSecret,
    frames: HashSecret,
}

impl Secrets {
    /// The checksum of a record.
    #[must_use]
    pub(crate) fn checksum(&self, record: &[u8]) -> u64 {
        xxh3_64_with_secret(record, self.frames.bytes())
    }

    /// The bytes that begin a frame.
    #[must_use]
    pub(crate) fn mark(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = *self.frames.bytes();
        [a, b, c, d]
    }

    fn draw() -> Result<Self, String> {
        Ok(Self {
            keys: HashSecret::draw()?,
            frames: HashSecret::draw()?,
        })
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (keys, frames) = bytes.split_at_checked(HashSecret::BYTES)?;
        Some(Self {
            keys: HashSecret::from_bytes(keys.try_into().ok()?),
            frames: HashSecret::from_bytes(frames.try_into().ok()?),
        })
    }
}

/// A segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    /// Increases with each segment.
    pub number: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// The folder, locked for this process.
pub(crate) struct Folder {
    path: PathBuf,
    pub secrets: Secrets,
    /// Locked for as long as the process may write.
    _lock: Option<File>,
}

impl Folder {
    /// Opens the folder, and creates it when it does not exist.
    ///
    /// # Errors
    /// What cannot be read or written, or that another process uses the folder.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let describe = |error: std::io::Error| unusable(path, &error);
        let lock = lock_file(path).map_err(describe)?;
        lock.try_lock().map_err(|_| {
            format!(
                "cache.dir: another process uses {}\n  remedy: give each process a folder of its own",
                path.display()
            )
        })?;
        let secrets = secrets(path).map_err(describe)?;
        Ok(Self {
            path: path.to_owned(),
            secrets: secrets?,
            _lock: Some(lock),
        })
    }

    /// A folder that another value has locked.
    #[cfg(test)]
    pub(crate) fn without_lock(path: &Path, secrets: Secrets) -> Self {
        Self {
            path: path.to_owned(),
            secrets,
            _lock: None,
        }
    }

    /// Checks that the folder can be written to, by this process or the one that has locked it.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub(crate) fn check(path: &Path) -> Result<(), String> {
        let tried = lock_file(path).and_then(|_| {
            let file = path.join(format!("check.{}", std::process::id()));
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(OWNER_ONLY)
                .open(&file)?;
            std::fs::remove_file(file)
        });
        tried.map_err(|error| unusable(path, &error))
    }

    /// The segments, the oldest first.
    #[must_use]
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|file| {
                let file = file.ok()?;
                let name = file.file_name();
                let number = name.to_str()?.strip_suffix(".segment")?.parse().ok()?;
                let bytes = file.metadata().ok()?.len();
                Some(Segment { number, bytes })
            })
            .collect();
        segments.sort_unstable();
        segments
    }

    /// Creates a segment, opened to append.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn create(&self, number: u64) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(OWNER_ONLY);
        options.open(self.segment_path(number))
    }

    /// Reads a whole segment.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn read(&self, number: u64) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.segment_path(number))
    }

    /// Removes a segment. An error is ignored: in a folder that refuses removal, no other remedy would work.
    pub(crate) fn remove(&self, number: u64) {
        let _ = std::fs::remove_file(self.segment_path(number));
    }

    fn segment_path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:012}.segment"))
    }
}

/// Opens the lock file, in a folder that is created when it does not exist.
fn lock_file(folder: &Path) -> std::io::Result<File> {
    if folder.is_dir() {
        restrict_to_owner(folder)?;
    } else {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(OWNER_ONLY_FOLDER);
        builder.create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false);
    options.mode(OWNER_ONLY).open(folder.join("lock"))
}

/// Takes the permissions of others from an existing folder and from its files. Whoever may write to the folder could
/// replace the secret and the segments together.
fn restrict_to_owner(folder: &Path) -> std::io::Result<()> {
    restrict(folder, &std::fs::metadata(folder)?, OWNER_ONLY_FOLDER)?;
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default();
        let is_segment = path.extension().is_some_and(|suffix| suffix == "segment");
        if !is_segment && !FILES.iter().any(|own| name == *own) {
            continue;
        }
        let metadata = std::fs::symlink_metadata(&path)?;
        if !metadata.is_file() {
            let message = format!("{} is not a regular file", path.display());
            return Err(std::io::Error::other(message));
        }
        restrict(&path, &metadata, OWNER_ONLY)?;
    }
    Ok(())
}

fn restrict(path: &Path, metadata: &Metadata, mode: u32) -> std::io::Result<()> {
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        let message = format!(
            "{} belongs to the user {owner}, not to the user {own} of this process",
            path.display()
        );
        return Err(std::io::Error::other(message));
    }
    if metadata.mode() & OF_OTHERS != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn unusable(folder: &Path, error: &std::io::Error) -> String {
    format!(
        "cache.dir: cannot use {}: {error}\n  remedy: configure a folder that belongs to this user (one inside this \
         folder is created), or remove the key",
        folder.display()
    )
}

/// Reads the folder's secrets, or draws them when there are none. Segments whose secrets are lost cannot be
/// read.
fn secrets(folder: &Path) -> std::io::Result<Result<Secrets, String>> {
    let path = folder.join("secret");
    if let Ok(mut file) = File::open(&path) {
        file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        let mut bytes = Vec::with_capacity(SECRETS_BYTES + 1);
        (&mut file)
            .take(SECRETS_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;
        if let Some(secrets) = Secrets::from_bytes(&bytes) {
            return Ok(Ok(secrets));
        }
    }
    let secrets = match Secrets::draw() {
        Ok(secrets) => secrets,
        Err(error) => return Ok(Err(error)),
    };
    // Written to another file and renamed, so that the file is complete or does not exist.
    let new_path = folder.join("secret.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = options.mode(OWNER_ONLY).open(&new_path)?;
    file.write_all(secrets.keys.bytes())?;
    file.write_all(secrets.frames.bytes())?;
    file.sync_all()?;
    std::fs::rename(new_path, path)?;
    Ok(Ok(secrets))
}
