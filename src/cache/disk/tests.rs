//! What is read back: all that was whole, nothing torn, nothing deleted, nothing of another folder.

use crate::base::names::Name;
use crate::cache::disk::disk_cache::*;
use crate::cache::disk::folder::Folder;
use crate::cache::disk::record::{Part, SEGMENT_HEAD, parts, write_deletion, write_entry};
use crate::cache::entry::Entry;
use crate::cache::entry::{Key, Storing};
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

/// What may be read back: question to content, of one tenant.
type Expected = BTreeMap<String, String>;

fn key(folder: &Folder, tenant: &str, question: &str) -> Key {
    let mut form = b"scope".to_vec();
    form.extend_from_slice(tenant.as_bytes());
    form.extend_from_slice(&(tenant.len() as u64).to_le_bytes());
    form.extend_from_slice(&1u64.to_le_bytes());
    Key::of_form(&folder.secrets.keys, &form, question)
}

fn entry(folder: &Folder, tenant: &str, question: &str, content: &str) -> Arc<Entry> {
    let storing = Storing {
        response: response(content),
        model: Name::new("m"),
        key: Some(Name::new(tenant)),
        target: Name::new("p/m"),
        at: clock::now(),
        ttl: Duration::from_secs(100),
        kept_for: Duration::ZERO,
        indexed: false,
    };
    Arc::new(Entry::new(
        key(folder, tenant, question),
        storing,
        Arc::default(),
    ))
}

struct Side {
    store: Arc<Store>,
    disk: Arc<Disk>,
    folder: Folder,
}

/// A disk side over what is in `path` now, as another process would find it: the folder is copied, so
/// that one which still writes to it does no harm.
fn restart(path: &Path, bytes_max: u64) -> (tempfile::TempDir, Side) {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(path).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let side = start(copy.path(), bytes_max);
    while side.disk.counts.loading.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    (copy, side)
}

fn start(path: &Path, bytes_max: u64) -> Side {
    let folder = Folder::open(path).unwrap();
    let secrets = folder.secrets.clone();
    let store = Arc::new(Store::new(1 << 24, 1.0));
    let into = Into {
        store: Arc::clone(&store),
        semantic: None,
        pending_removals: Arc::default(),
    };
    let disk = Disk::start(folder, bytes_max, into).unwrap();
    // A second look at the secrets, for making keys; the lock stays with the disk side.
    let folder = Folder::of_secrets(path, secrets);
    Side {
        store,
        disk,
        folder,
    }
}

impl Side {
    fn put(&self, tenant: &str, question: &str, content: &str) -> u128 {
        let entry = entry(&self.folder, tenant, question, content);
        assert!(self.store.insert(Arc::clone(&entry)));
        self.store.keep(&entry, None);
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
        let (removed, on_disk) = self.store.delete(deletion);
        assert_eq!(wait(on_disk.unwrap()), Some(true));
        removed
    }
}

fn wait(mut told: oneshot::Receiver<bool>) -> Option<bool> {
    let by = Instant::now() + Duration::from_secs(20);
    while Instant::now() < by {
        match told.try_recv() {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(told) => return told,
            Err(_) => return None,
        }
    }
    None
}

#[test]
fn what_was_stored_is_found_after_a_restart_and_deletions_hold() {
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
    // A wrong answer goes with its aliases, of its scope only.
    let wrong = entry(&first.folder, "a", "wrong", "b2 again");
    assert!(first.store.insert(Arc::clone(&wrong)));
    first.put("a", "alias", "b2 again");
    let (removed, on_disk) = first.store.remove_with_aliases(&wrong);
    assert_eq!((removed, wait(on_disk.unwrap())), (2, Some(true)));
    first.flush();
    let (second_path, second) = restart(path.path(), 1 << 24);
    let check = |side: &Side| {
        assert_eq!(side.content("a", "one").as_deref(), Some("1 again"));
        assert_eq!(side.content("a", "two"), None);
        assert_eq!(side.content("b", "one"), None);
        assert_eq!(side.content("b", "two").as_deref(), Some("b2 again"));
        assert_eq!(side.content("a", "alias"), None);
        assert_eq!(side.content("c", "one"), None);
        assert_eq!(side.store.len(), 2);
    };
    check(&second);
    // What was deleted while it was not in memory is gone as well.
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
fn an_entry_comes_back_with_its_age_and_not_once_it_expired() {
    let path = tempfile::tempdir().unwrap();
    let folder = Folder::open(path.path()).unwrap();
    let (now, wall) = (clock::now(), clock::since_epoch());
    let mut segment = SEGMENT_HEAD.to_vec();
    let mut add = |question, age: u64| {
        let at = wall - Duration::from_secs(age);
        let entry = entry(&folder, "a", question, "x");
        write_entry(&mut segment, &folder.secrets, &entry, None, (now, at));
    };
    add("old", 101);
    add("young", 60);
    // A clock that was wrong then or is now.
    add("ahead", 0);
    let ahead = wall + Duration::from_secs(3600);
    let from_ahead = entry(&folder, "a", "from ahead", "x");
    write_entry(
        &mut segment,
        &folder.secrets,
        &from_ahead,
        None,
        (now, ahead),
    );
    std::fs::write(path.path().join("000000000001.segment"), segment).unwrap();
    drop(folder);
    let (_path, side) = restart(path.path(), 1 << 24);
    assert_eq!(side.store.len(), 2);
    let young = side
        .store
        .get(&key(&side.folder, "a", "young"), clock::now());
    let age = young.unwrap().age(clock::now()).as_secs();
    assert!((60..70).contains(&age), "{age}");
}

/// A small segment of entries and a deletion, and what each prefix of whole records may give.
fn segment(folder: &Folder) -> (Vec<u8>, Vec<(usize, Expected)>) {
    let clocks = (clock::now(), clock::since_epoch());
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

fn read_back(path: &Path, bytes: &[u8]) -> (Expected, u64) {
    let file = path.join("000000000001.segment");
    std::fs::write(&file, bytes).unwrap();
    let (_path, side) = restart(path, 1 << 24);
    let mut found = Expected::new();
    for at in 0..6 {
        let question = format!("q{at}");
        if let Some(content) = side.content("a", &question) {
            found.insert(question, content);
        }
    }
    assert_eq!(found.len(), side.store.len());
    (found, side.disk.counts.damaged.load(Ordering::Relaxed))
}

#[test]
fn a_segment_cut_at_any_byte_gives_its_whole_records() {
    let path = tempfile::tempdir().unwrap();
    let (bytes, prefixes) = {
        let folder = Folder::open(path.path()).unwrap();
        segment(&folder)
    };
    for end in 0..=bytes.len() {
        let whole = prefixes.iter().rev().find(|(length, _)| *length <= end);
        let (found, damaged) = read_back(path.path(), &bytes[..end]);
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
        let (found, _) = read_back(path.path(), &flipped);
        let record = prefixes.iter().filter(|(length, _)| *length <= at).count();
        for (question, content) in &found {
            assert_eq!(Some(content), all.get(question), "flipped at {at}");
        }
        // The length of the last record may make it look unfinished: then nothing behind it is lost.
        if record < prefixes.len() - 1 {
            let older = (0..record.saturating_sub(1)).map(|at| format!("q{at}"));
            assert!(
                older.into_iter().all(|one| !found.contains_key(&one)),
                "flipped at {at}"
            );
        }
    }
}

#[test]
fn a_record_within_a_text_is_no_record() {
    let (path, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (
        Folder::open(path.path()).unwrap(),
        Folder::open(other.path()).unwrap(),
    );
    let clocks = (clock::now(), clock::since_epoch());
    let mut forged = Vec::new();
    let victim = entry(&theirs, "victim", "q", "forged");
    write_entry(&mut forged, &theirs.secrets, &victim, None, clocks);
    assert!(matches!(
        parts(&forged, &theirs.secrets)[..],
        [Part::Record(_)]
    ));
    assert!(matches!(parts(&forged, &ours.secrets)[..], [Part::Damage]));
}

#[test]
fn the_folder_is_the_owners_alone_and_of_one_process() {
    use std::os::unix::fs::PermissionsExt;
    let path = tempfile::tempdir().unwrap();
    let folder = path.path().join("a/b");
    let side = start(&folder, 1 << 24);
    side.put("a", "q", "x");
    side.flush();
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
fn the_space_is_bounded_and_the_newest_stay() {
    let path = tempfile::tempdir().unwrap();
    let side = start(path.path(), 1 << 20);
    for at in 0..3000 {
        side.put("a", &format!("q{at}"), &"x".repeat(1000));
        if at % 100 == 0 {
            side.flush();
        }
    }
    side.flush();
    let files = std::fs::read_dir(path.path()).unwrap();
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= (1 << 20) + 1024, "{bytes}");
    assert_eq!(side.disk.counts.bytes.load(Ordering::Relaxed) + 384, bytes);
    let (_path, side) = restart(path.path(), 1 << 20);
    let count = side.store.len();
    assert!(count > 600, "{count}");
    for at in 3000 - count..3000 {
        assert!(
            side.content("a", &format!("q{at}")).is_some(),
            "{at} of {count}"
        );
    }
    // Too large for a segment: in memory only.
    side.put("a", "large", &"x".repeat(200_000));
    side.flush();
    assert_eq!(side.disk.counts.too_large.load(Ordering::Relaxed), 1);
}

#[test]
fn damage_gives_up_older_segments_for_good() {
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
    let (copy, side) = restart(path.path(), 1 << 24);
    assert_eq!(side.content("a", "q0"), None);
    assert!(side.content("a", "q5").is_some());
    assert!(!copy.path().join("000000000001.segment").exists());
    // Of another version.
    let mut other = bytes.clone();
    other[SEGMENT_HEAD.len() - 1] += 1;
    write(3, &other);
    let (_path, side) = restart(path.path(), 1 << 24);
    assert!(side.store.is_empty());
}
