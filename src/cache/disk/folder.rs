//! The folder of stored answers: its lock, its secrets, its segments. Must not know records.

use crate::cache::entry::HashSecret;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64_with_secret;

/// Bytes of the file of secrets: one for keys, one for checksums.
const SECRETS_BYTES: usize = 2 * HashSecret::BYTES;
const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_FOLDER: u32 = 0o700;

/// The folder's own secrets. With those of another folder its records cannot be read.
#[derive(Clone)]
pub struct Secrets {
    /// Of the keys of entries.
    pub keys: HashSecret,
    frames: HashSecret,
}

impl Secrets {
    /// The checksum of a record.
    #[must_use]
    pub fn checksum(&self, record: &[u8]) -> u64 {
        xxh3_64_with_secret(record, self.frames.bytes())
    }

    /// What begins a frame.
    #[must_use]
    pub fn mark(&self) -> [u8; 4] {
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

/// The folder, locked for this process.
pub struct Folder {
    path: PathBuf,
    /// The folder's secrets.
    pub secrets: Secrets,
    /// Held for as long as the process may write.
    _lock: Option<File>,
}

impl Folder {
    /// Opens the folder, and makes it where there is none.
    ///
    /// # Errors
    /// What cannot be read or written, or that another process has it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let wrong = |error: std::io::Error| unusable(path, &error);
        let lock = lock_file(path).map_err(wrong)?;
        lock.try_lock().map_err(|_| {
            format!(
                "cache.dir: another process has {}\n  remedy: give each process a folder of its own",
                path.display()
            )
        })?;
        let secrets = secrets(path).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            secrets: secrets?,
            _lock: Some(lock),
        })
    }

    /// A look at a folder that another has.
    #[cfg(test)]
    pub fn of_secrets(path: &Path, secrets: Secrets) -> Self {
        Self {
            path: path.to_owned(),
            secrets,
            _lock: None,
        }
    }

    /// Makes sure that the folder can be used, by this process or the one that has it.
    ///
    /// # Errors
    /// A sentence a person can act on.
    pub fn check(path: &Path) -> Result<(), String> {
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

    /// Numbers and sizes of the segments, the oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<(u64, u64)> {
        let mut found: Vec<(u64, u64)> = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|file| {
                let file = file.ok()?;
                let name = file.file_name();
                let number = name.to_str()?.strip_suffix(".segment")?.parse().ok()?;
                Some((number, file.metadata().ok()?.len()))
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// A new segment, to be appended to.
    ///
    /// # Errors
    /// The system's.
    pub fn create(&self, number: u64) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(OWNER_ONLY);
        options.open(self.segment(number))
    }

    /// All of a segment.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, number: u64) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.segment(number))
    }

    /// Removes a segment. In a folder where that fails nothing else could be done either.
    pub fn remove(&self, number: u64) {
        let _ = std::fs::remove_file(self.segment(number));
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:012}.segment"))
    }
}

/// The file that is locked, in a folder that is made where there is none.
fn lock_file(folder: &Path) -> std::io::Result<File> {
    if !folder.is_dir() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(OWNER_ONLY_FOLDER);
        builder.create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false);
    options.mode(OWNER_ONLY).open(folder.join("lock"))
}

fn unusable(folder: &Path, error: &std::io::Error) -> String {
    format!(
        "cache.dir: cannot write to {}: {error}\n  remedy: give a folder that this user may write to, \
         or remove the key",
        folder.display()
    )
}

/// The folder's secrets, drawn when there are none. Segments of lost secrets are unreadable.
fn secrets(folder: &Path) -> std::io::Result<Result<Secrets, String>> {
    let path = folder.join("secret");
    if let Ok(mut file) = File::open(&path) {
        file.set_permissions(std::fs::Permissions::from_mode(OWNER_ONLY))?;
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
        Err(why) => return Ok(Err(why)),
    };
    // Whole or not at all: written beside, then moved.
    let beside = folder.join("secret.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = options.mode(OWNER_ONLY).open(&beside)?;
    file.write_all(secrets.keys.bytes())?;
    file.write_all(secrets.frames.bytes())?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    Ok(Ok(secrets))
}
