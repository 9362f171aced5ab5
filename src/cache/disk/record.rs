//! Records and their frames: the contents of a segment. Must not know files.
//!
//! A frame is a mark, the length, a keyed checksum and the record. Each folder has its own mark and key, so
//! that no text stored for a client can be taken for a record, wherever reading starts.

use crate::base::names::Name;
use crate::cache::disk::bytes::{Reader, put_text, put_u64};
use crate::cache::disk::deletion::Deletion;
use crate::cache::disk::folder::Secrets;
use crate::cache::disk::response_record::{read_response, write_response};
use crate::cache::entry::{Entry, NewEntry};
use crate::cache::key::Key;
use crate::cache::pending_removals::PendingRemovals;
use crate::cache::response::cached_response::CachedResponse;
use crate::embedding::codes::{CODE_BYTES, Code};
use crate::runtime::clock;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Begins a segment; the last byte is the version of this format.
pub(crate) const SEGMENT_HEAD: [u8; 8] = *b"RNGSIDE\x01";
/// Mark, length, checksum.
const FRAME_BYTES: usize = 4 + 4 + 8;
/// An entry that was stored more than this far in the future is rejected: the clock was wrong then or is now.
const AHEAD_MAX: Duration = Duration::from_secs(60);

const KIND_ENTRY: u8 = 1;
const KIND_DELETION: u8 = 2;

const DELETION_OF_ENTRY: u8 = 0;
const DELETION_BY_MODEL_AND_KEY: u8 = 1;
const DELETION_BY_CONTENT: u8 = 2;

/// A vector and the identity of the model that made it.
#[derive(Clone, Copy)]
pub(crate) struct StoredEmbedding {
    /// As `EmbeddingPool::embedder_id`; 0 in a record means that there is no vector.
    pub embedder_id: u64,
    pub code: Code,
}

/// One moment on the monotonic clock and on the wall clock.
#[derive(Clone, Copy)]
pub(crate) struct Clocks {
    pub now: Instant,
    /// Time since the Unix epoch.
    pub since_epoch: Duration,
}

impl Clocks {
    pub(crate) fn read() -> Self {
        Self {
            now: clock::now(),
            since_epoch: clock::since_epoch(),
        }
    }
}

/// Appends a frame whose record is what `write` appends.
fn frame(out: &mut Vec<u8>, secrets: &Secrets, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    write(out);
    let (head, record) = out[start..].split_at_mut(FRAME_BYTES);
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(&secrets.mark());
    head[4..8].copy_from_slice(&length.to_le_bytes());
    let checksum = secrets.checksum(record);
    head[8..].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends the record of an entry.
pub(crate) fn write_entry(
    out: &mut Vec<u8>,
    secrets: &Secrets,
    entry: &Entry,
    embedding: Option<&StoredEmbedding>,
    clocks: Clocks,
) {
    let stored_at = clocks.since_epoch.saturating_sub(entry.age(clocks.now));
    frame(out, secrets, |out| {
        out.push(KIND_ENTRY);
        put_u64(out, millis(stored_at));
        put_u64(out, millis(entry.ttl));
        put_u64(out, millis(entry.stale_for));
        put_text(out, entry.scope_bytes());
        put_text(out, entry.question().as_bytes());
        put_text(out, entry.model.text().as_bytes());
        out.push(u8::from(entry.key.is_some()));
        let key = entry.key.map(Name::text);
        put_text(out, key.as_deref().unwrap_or_default().as_bytes());
        put_text(out, entry.target.text().as_bytes());
        write_response(&entry.response, out);
        let embedder_id = embedding.map_or(0, |embedding| embedding.embedder_id);
        put_u64(out, embedder_id);
        if let Some(embedding) = embedding {
            out.extend(embedding.code.to_bytes().map(i8::cast_unsigned));
        }
    });
}

/// Appends the record of a deletion.
pub(crate) fn write_deletion(out: &mut Vec<u8>, secrets: &Secrets, deletion: &Deletion) {
    frame(out, secrets, |out| {
        out.push(KIND_DELETION);
        match deletion {
            Deletion::Entry(id) => {
                out.push(DELETION_OF_ENTRY);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Deletion::Content { scope, content } => {
                out.push(DELETION_BY_CONTENT);
                out.extend_from_slice(&scope.to_le_bytes());
                put_text(out, content.as_bytes());
            }
            Deletion::Matching { model, key } => {
                out.push(DELETION_BY_MODEL_AND_KEY);
                for name in [model, key] {
                    out.push(u8::from(name.is_some()));
                    put_text(out, name.as_deref().unwrap_or_default().as_bytes());
                }
            }
        }
    });
}

/// A part of a segment.
pub(crate) enum SegmentPart<'b> {
    /// A complete record.
    Record(&'b [u8]),
    /// Bytes that are not a record, although records follow or the length is complete: a record was lost.
    Damage,
}

/// The parts of a segment after its head, in order. An unfinished frame at the end is left out: a process
/// that is killed leaves one.
#[must_use]
pub(crate) fn split_segment<'b>(mut rest: &'b [u8], secrets: &Secrets) -> Vec<SegmentPart<'b>> {
    let mut parts = Vec::new();
    let mark = secrets.mark();
    while !rest.is_empty() {
        if let Some((record, after)) = read_frame(rest, secrets) {
            parts.push(SegmentPart::Record(record));
            rest = after;
            continue;
        }
        let next_frame = memchr::memmem::find_iter(rest.get(1..).unwrap_or_default(), &mark)
            .filter_map(|offset| rest.get(offset + 1..))
            .find(|candidate| read_frame(candidate, secrets).is_some());
        match next_frame {
            Some(frame) => {
                parts.push(SegmentPart::Damage);
                rest = frame;
            }
            None => {
                parts.extend((!is_unfinished(rest, mark)).then_some(SegmentPart::Damage));
                break;
            }
        }
    }
    parts
}

/// The record of the frame at the start of `bytes`, and the bytes after it.
fn read_frame<'b>(bytes: &'b [u8], secrets: &Secrets) -> Option<(&'b [u8], &'b [u8])> {
    let mut reader = Reader(bytes);
    if reader.bytes(4)? != secrets.mark() {
        return None;
    }
    let (length, checksum) = (reader.u32()? as usize, reader.u64()?);
    let record = reader.bytes(length)?;
    (secrets.checksum(record) == checksum).then_some((record, reader.0))
}

fn is_unfinished(bytes: &[u8], expected_mark: [u8; 4]) -> bool {
    let mut reader = Reader(bytes);
    let (Some(mark), Some(length)) = (reader.bytes(4), reader.u32()) else {
        return expected_mark.starts_with(bytes.get(..4).unwrap_or(bytes));
    };
    mark == expected_mark && reader.0.len() < length as usize + 8
}

/// The content of a record.
pub(crate) enum Record {
    Entry(Box<StoredEntry>),
    Deletion(Deletion),
}

/// An entry as it was read from the disk.
pub(crate) struct StoredEntry {
    key: Key,
    /// Time since the Unix epoch.
    stored_at: Duration,
    ttl: Duration,
    stale_for: Duration,
    model: String,
    owner: Option<String>,
    target: String,
    response: CachedResponse,
    pub embedding: Option<StoredEmbedding>,
}

/// Reads a record; `None` when this version does not write such a record.
#[must_use]
pub(crate) fn read_record(record: &[u8], secrets: &Secrets) -> Option<Record> {
    let mut reader = Reader(record);
    match reader.u8()? {
        KIND_ENTRY => read_entry(&mut reader, secrets).map(|entry| Record::Entry(Box::new(entry))),
        KIND_DELETION => read_deletion(&mut reader).map(Record::Deletion),
        _ => None,
    }
}

fn read_entry(reader: &mut Reader<'_>, secrets: &Secrets) -> Option<StoredEntry> {
    let stored_at = Duration::from_millis(reader.u64()?);
    let ttl = Duration::from_millis(reader.u64()?);
    let stale_for = Duration::from_millis(reader.u64()?);
    let scope = reader.text()?.to_vec();
    let key = Key::in_scope(&secrets.keys, &scope, &reader.string()?);
    let model = reader.string()?;
    let has_owner = reader.u8()? == 1;
    let owner = Some(reader.string()?).filter(|_| has_owner);
    let target = reader.string()?;
    let response = read_response(reader)?;
    let embedding = match reader.u64()? {
        0 => None,
        embedder_id => {
            let bytes: &[u8; CODE_BYTES] = reader.bytes(CODE_BYTES)?.try_into().ok()?;
            let code = Code::from_bytes(&bytes.map(u8::cast_signed));
            Some(StoredEmbedding { embedder_id, code })
        }
    };
    reader.0.is_empty().then_some(StoredEntry {
        key,
        stored_at,
        ttl,
        stale_for,
        model,
        owner,
        target,
        response,
        embedding,
    })
}

fn read_deletion(reader: &mut Reader<'_>) -> Option<Deletion> {
    match reader.u8()? {
        DELETION_OF_ENTRY => reader.u128().map(Deletion::Entry),
        DELETION_BY_MODEL_AND_KEY => {
            let mut name = || {
                let is_some = reader.u8()? == 1;
                Some(Some(reader.string()?).filter(|_| is_some))
            };
            Some(Deletion::Matching {
                model: name()?,
                key: name()?,
            })
        }
        DELETION_BY_CONTENT => Some(Deletion::Content {
            scope: reader.u128()?,
            content: reader.string()?.into(),
        }),
        _ => None,
    }
}

impl StoredEntry {
    /// The id that the entry will have.
    #[must_use]
    pub(crate) fn id(&self) -> u128 {
        self.key.exact
    }

    /// The entry, unless its lifetime has passed or it was stored in the future.
    #[must_use]
    pub(crate) fn into_entry(
        self,
        clocks: Clocks,
        indexed: bool,
        pending_removals: &Arc<PendingRemovals>,
    ) -> Option<Entry> {
        let age = clocks.since_epoch.saturating_sub(self.stored_at);
        let is_over = age >= self.ttl.saturating_add(self.stale_for);
        if is_over || self.stored_at > clocks.since_epoch + AHEAD_MAX {
            return None;
        }
        let new_entry = NewEntry {
            response: self.response,
            model: Name::new(&self.model),
            key: self.owner.as_deref().map(Name::new),
            target: Name::new(&self.target),
            stored_at: clocks.now.checked_sub(age)?,
            ttl: self.ttl,
            stale_for: self.stale_for,
            indexed,
        };
        Some(Entry::new(
            self.key,
            new_entry,
            Arc::clone(pending_removals),
        ))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
