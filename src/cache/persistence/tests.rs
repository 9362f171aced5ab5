//! Recovery: every complete record is recovered; torn and deleted records and those of another folder are not.

use crate::base::names::Name;
use crate::cache::disk::deletion::Deletion;
use crate::cache::disk::folder::Folder;
use crate::cache::disk::handle::DiskHandle;
use crate::cache::disk::record::{
    Clocks, SEGMENT_HEAD, SegmentPart, split_segment, write_deletion, write_entry,
};
use crate::cache::entry::{Entry, NewEntry};
use crate::cache::key::Key;
use crate::cache::persistence::start::start as start_persistence;
use crate::cache::persistence::tiers::CacheTiers;
use crate::cache::response::cached_response::tests::response;
use crate::cache::store::Store;
use crate::runtime::clock;
use futures_channel::oneshot;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// What may be recovered: question to content, of one tenant.
type Expected = BTreeMap<String, String>;

fn key(folder: &Folder, tenant: &str, question: &str) -> Key {
    let mut scope = b"scope".to_vec();
    scope.extend_from_slice(tenant.as_bytes());
    scope.extend_from_slice(&(tenant.len() as u64).to_le_bytes());
    scope.extend_from_slice(&1u64.to_le_bytes());
    Key::in_scope(&folder.secrets.keys, &scope, question)
}

fn entry(folder: &Folder, tenant: &str, question: &str, content: &str) -> Arc<Entry> {
    let new_entry = NewEntry {
        response: response(content),
        model: Name::new("m"),
        key: Some(Name::new(tenant)),
        target: Name::new("p/m"),
        stored_at: clock::now(),
        ttl: Duration::from_secs(100),
        stale_for: Duration::ZERO,
        indexed: false,
    };
    Arc::new(Entry::new(
        key(folder, tenant, question),
        new_entry,
        Arc::default(),
    ))
}

struct Process {
    store: Arc<Store>,
    disk: Arc<DiskHandle>,
    folder: Folder,
}

/// A process that starts with what is in `path` now. The folder is copied, because a previous process may still
/// write to it.
fn restart(path: &Path, bytes_max: u64) -> (tempfile::TempDir, Process) {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(path).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let process = start(copy.path(), bytes_max);
    while process.disk.stats.loading.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    (copy, process)
}

fn start(path: &Path, bytes_max: u64) -> Process {
    let folder = Folder::open(path).unwrap();
    let secrets = folder.secrets.clone();
    let store = Arc::new(Store::new(1 << 24, 1.0));
    let tiers = CacheTiers {
        store: Arc::clone(&store),
        semantic: None,
        pending_removals: Arc::default(),
    };
    let disk = start_persistence(folder, bytes_max, tiers).unwrap();
    // A second folder value with the same secrets, for making keys; the lock stays with the first.
    let folder = Folder::without_lock(path, secrets);
    Process {
        store,
        disk,
        folder,
    }
}

impl Process {
    fn put(&self, tenant: &str, question: &str, content: &str) -> u128 {
        let entry = entry(&self.folder, tenant, question, content);
        assert!(self.store.insert(Arc::clone(&entry)));
        self.store.persist(&entry, None);
        entry.id
    }

    fn content(&self, tenant: &str, question: &str) -> Option<String> {
        let key = key(&self.folder, tenant, question);
        let entry = self.store.get(&key, clock::now())?;
        Some(entry.response.content().to_owned())
    }

    fn flush(&self) {
        assert_eq!(wait(self.disk.flush()), Some(true));
    }

    fn delete(&self, deletion: Deletion) -> usize {
        let deleted = self.store.delete(deletion);
        assert_eq!(wait(deleted.on_disk.unwrap()), Some(true));
        deleted.entries
    }
}

fn wait(mut written: oneshot::Receiver<bool>) -> Option<bool> {
    let by = Instant::now() + Duration::from_secs(20);
    while Instant::now() < by {
        match written.try_recv() {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(written) => return written,
            Err(_) => return None,
        }
    }
    None
}

#[test]
fn entries_are_recovered_after_a_restart_and_deletions_hold() {
    let path = tempfile::tempdir().unwrap();
    let first = start(path.path(), 1 << 24);
    first.put("a", "one", "1");
    let two = first.put("a", "two", "2");
    first.put("b", "one", "b1");
    first.put("b", "two", "b2");
    first.put("a", "one", "1 again");
    assert_eq!(first.delete(Deletion::Entry(two)), 1);
    let of_b = Deletion::Matching {
        model: None,
        key: Some("b".into()),
    };
    assert_eq!(first.delete(of_b), 2);
    first.put("b", "two", "b2 again");
    // A wrong answer is deleted with its aliases of the same scope.
    let wrong = entry(&first.folder, "a", "wrong", "b2 again");
    assert!(first.store.insert(Arc::clone(&wrong)));
    first.put("a", "alias", "b2 again");
    let deleted = first.store.delete_with_aliases(&wrong);
    assert_eq!(deleted.entries, 2);
    assert_eq!(wait(deleted.on_disk.unwrap()), Some(true));
    first.flush();
    let (second_path, second) = restart(path.path(), 1 << 24);
    let check = |process: &Process| {
        assert_eq!(process.content("a", "one").as_deref(), Some("1 again"));
        assert_eq!(process.content("a", "two"), None);
        assert_eq!(process.content("b", "one"), None);
        assert_eq!(process.content("b", "two").as_deref(), Some("b2 again"));
        assert_eq!(process.content("a", "alias"), None);
        assert_eq!(process.content("c", "one"), None);
        assert_eq!(process.store.len(), 2);
    };
    check(&second);
    // An entry that is deleted while it is not in memory is not recovered either.
    second.delete(Deletion::Entry(two));
    let (third_path, third) = restart(second_path.path(), 1 << 24);
    check(&third);
    third.delete(Deletion::Matching {
        model: Some("m".into()),
        key: None,
    });
    let (_path, fourth) = restart(third_path.path(), 1 << 24);
    assert!(fourth.store.is_empty());
}

#[test]
fn an_entry_is_recovered_with_its_age_unless_it_expired() {
    let path = tempfile::tempdir().unwrap();
    let folder = Folder::open(path.path()).unwrap();
    let clocks = Clocks::read();
    let mut segment = SEGMENT_HEAD.to_vec();
    let mut add = |question, age: u64| {
        let stored_at = Clocks {
            since_epoch: clocks.since_epoch - Duration::from_secs(age),
            ..clocks
        };
        let entry = entry(&folder, "a", question, "x");
        write_entry(&mut segment, &folder.secrets, &entry, None, stored_at);
    };
    add("old", 101);
    add("young", 60);
    // The clock was wrong then, or is now.
    add("ahead", 0);
    let ahead = Clocks {
        since_epoch: clocks.since_epoch + Duration::from_secs(3600),
        ..clocks
    };
    let from_ahead = entry(&folder, "a", "from ahead", "x");
    write_entry(&mut segment, &folder.secrets, &from_ahead, None, ahead);
    std::fs::write(path.path().join("000000000001.segment"), segment).unwrap();
    drop(folder);
    let (_path, process) = restart(path.path(), 1 << 24);
    assert_eq!(process.store.len(), 2);
    let young = process
        .store
        .get(&key(&process.folder, "a", "young"), clock::now());
    let age = young.unwrap().age(clock::now()).as_secs();
    assert!((60..70).contains(&age), "{age}");
}

/// A small segment of entries and a deletion, and what may be recovered from each prefix of complete records.
fn segment(folder: &Folder) -> (Vec<u8>, Vec<(usize, Expected)>) {
    let clocks = Clocks::read();
    let mut bytes = SEGMENT_HEAD.to_vec();
    let mut expected = Expected::new();
    let mut prefixes = vec![(0, expected.clone())];
    for at in 0..6 {
        let (question, content) = (format!("q{at}"), format!("content {at}"));
        if at == 4 {
            let gone = key(folder, "a", "q1").exact;
            write_deletion(&mut bytes, &folder.secrets, &Deletion::Entry(gone));
            expected.remove("q1");
        } else {
            let entry = entry(folder, "a", &question, &content);
            write_entry(&mut bytes, &folder.secrets, &entry, None, clocks);
            expected.insert(question, content);
        }
        prefixes.push((bytes.len(), expected.clone()));
    }
    (bytes, prefixes)
}

fn recovered(path: &Path, bytes: &[u8]) -> (Expected, u64) {
    let file = path.join("000000000001.segment");
    std::fs::write(&file, bytes).unwrap();
    let (_path, process) = restart(path, 1 << 24);
    let mut found = Expected::new();
    for at in 0..6 {
        let question = format!("q{at}");
        if let Some(content) = process.content("a", &question) {
            found.insert(question, content);
        }
    }
    assert_eq!(found.len(), process.store.len());
    (found, process.disk.stats.damaged.load(Ordering::Relaxed))
}

#[test]
fn a_segment_cut_at_any_byte_gives_its_complete_records() {
    let path = tempfile::tempdir().unwrap();
    let (bytes, prefixes) = {
        let folder = Folder::open(path.path()).unwrap();
        segment(&folder)
    };
    for end in 0..=bytes.len() {
        let whole = prefixes.iter().rev().find(|(length, _)| *length <= end);
        let (found, damaged) = recovered(path.path(), &bytes[..end]);
        assert_eq!(found, whole.unwrap().1, "cut at {end}");
        assert_eq!(damaged, 0, "cut at {end}");
    }
}

#[test]
fn a_flipped_byte_gives_nothing_wrong_and_nothing_older() {
    let path = tempfile::tempdir().unwrap();
    let (bytes, prefixes) = {
        let folder = Folder::open(path.path()).unwrap();
        segment(&folder)
    };
    let (_, all) = prefixes.last().unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let (found, _) = recovered(path.path(), &flipped);
        let record = prefixes.iter().filter(|(length, _)| *length <= at).count();
        for (question, content) in &found {
            assert_eq!(Some(content), all.get(question), "flipped at {at}");
        }
        // A flip in the length of the last record can make it look unfinished; no record follows it.
        if record < prefixes.len() - 1 {
            let older = (0..record.saturating_sub(1)).map(|at| format!("q{at}"));
            assert!(
                older
                    .into_iter()
                    .all(|question| !found.contains_key(&question)),
                "flipped at {at}"
            );
        }
    }
}

#[test]
fn a_record_inside_a_stored_text_is_not_read() {
    let (path, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (
        Folder::open(path.path()).unwrap(),
        Folder::open(other.path()).unwrap(),
    );
    let clocks = Clocks::read();
    let mut forged = Vec::new();
    let victim = entry(&theirs, "victim", "q", "forged");
    write_entry(&mut forged, &theirs.secrets, &victim, None, clocks);
    assert!(matches!(
        split_segment(&forged, &theirs.secrets)[..],
        [SegmentPart::Record(_)]
    ));
    assert!(matches!(
        split_segment(&forged, &ours.secrets)[..],
        [SegmentPart::Damage]
    ));
}

#[test]
fn only_the_owner_and_one_process_may_use_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let path = tempfile::tempdir().unwrap();
    let folder = path.path().join("a/b");
    let process = start(&folder, 1 << 24);
    process.put("a", "q", "x");
    process.flush();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert_eq!(files.len(), 3);
    for file in files {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    let Err(why) = Folder::open(&folder) else {
        panic!("a folder in use was opened");
    };
    assert!(why.contains("another process"), "{why}");
    assert!(Folder::check(&folder).is_ok());
    assert!(Folder::check(Path::new("/proc/nowhere")).is_err());
}

#[test]
fn the_permissions_of_others_are_taken_from_an_existing_folder() {
    use std::os::unix::fs::PermissionsExt;
    let path = tempfile::tempdir().unwrap();
    let folder = path.path().join("open");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let open_to_all = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::create_dir(&folder).unwrap();
    open_to_all(&folder, 0o777);
    let process = start(&folder, 1 << 24);
    let secret = std::fs::read(folder.join("secret")).unwrap();
    process.put("a", "q", "x");
    process.flush();
    drop(process);
    open_to_all(&folder, 0o755);
    let files = ["lock", "secret", "000000000001.segment"];
    for file in files {
        open_to_all(&folder.join(file), 0o666);
    }
    // A file of somebody else's choice stays as it is.
    std::fs::write(folder.join("notes"), "x").unwrap();
    open_to_all(&folder.join("notes"), 0o644);
    assert!(Folder::check(&folder).is_ok());
    assert_eq!(mode(&folder), 0o700);
    for file in files {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&folder.join("notes")), 0o644);
    assert_eq!(std::fs::read(folder.join("secret")).unwrap(), secret);
    // A link could lead to a file of somebody else.
    std::fs::rename(folder.join("secret"), path.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(path.path().join("elsewhere"), folder.join("secret")).unwrap();
    let why = Folder::check(&folder).unwrap_err();
    assert!(why.contains("not a regular file"), "{why}");
    // Only the superuser owns nothing that belongs to others, and can make such a folder.
    let foreign = path.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    if std::os::unix::fs::chown(&foreign, Some(12_345), None).is_ok() {
        let why = Folder::check(&foreign).unwrap_err();
        assert!(why.contains("belongs to the user 12345"), "{why}");
    }
}

#[test]
fn segments_are_bounded_in_bytes_and_the_newest_stay() {
    let path = tempfile::tempdir().unwrap();
    let process = start(path.path(), 1 << 20);
    for at in 0..3000 {
        process.put("a", &format!("q{at}"), &"x".repeat(1000));
        if at % 100 == 0 {
            process.flush();
        }
    }
    process.flush();
    let files = std::fs::read_dir(path.path()).unwrap();
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= (1 << 20) + 1024, "{bytes}");
    assert_eq!(
        process.disk.stats.bytes.load(Ordering::Relaxed) + 384,
        bytes
    );
    let (_path, process) = restart(path.path(), 1 << 20);
    let count = process.store.len();
    assert!(count > 600, "{count}");
    for at in 3000 - count..3000 {
        assert!(
            process.content("a", &format!("q{at}")).is_some(),
            "{at} of {count}"
        );
    }
    // Too large for a segment: in memory only.
    process.put("a", "large", &"x".repeat(200_000));
    process.flush();
    assert_eq!(process.disk.stats.too_large.load(Ordering::Relaxed), 1);
}

#[test]
fn damage_discards_older_segments_for_good() {
    let path = tempfile::tempdir().unwrap();
    let (bytes, _) = {
        let folder = Folder::open(path.path()).unwrap();
        segment(&folder)
    };
    let write = |number: u32, bytes: &[u8]| {
        std::fs::write(path.path().join(format!("{number:012}.segment")), bytes).unwrap();
    };
    write(1, &bytes);
    let mut damaged = bytes.clone();
    damaged[SEGMENT_HEAD.len() + 40] ^= 1;
    write(2, &damaged);
    let (copy, process) = restart(path.path(), 1 << 24);
    assert_eq!(process.content("a", "q0"), None);
    assert!(process.content("a", "q5").is_some());
    assert!(!copy.path().join("000000000001.segment").exists());
    // Of another version.
    let mut other = bytes.clone();
    other[SEGMENT_HEAD.len() - 1] += 1;
    write(3, &other);
    let (_path, process) = restart(path.path(), 1 << 24);
    assert!(process.store.is_empty());
}
