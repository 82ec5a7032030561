//! A checkpoint: what machines knew at a position of the log, so that older frames need no replay.
//!
//! ```text
//! [page 0 of 3, object 7][page 1][page 2] [page 0 of 1, object 9] ... [end page]
//!  `- good for: replay this object from there on                       `- from: the smallest of these
//! ```
//!
//! Pages are entries of kind [`EntryKind::CheckpointPage`], so their checksums and places are those of
//! any entry. A page holds at most 64 KiB with its header; an object takes as many as it needs, one
//! after the other. A checkpoint is complete when it has its end page, which counts the others: it is
//! the last thing in the file, so that where replay begins is known after one small read.
//!
//! Objects may be good for different positions: each machine is written down when it suits it. What
//! the contents mean, and which kinds of objects there are, is the business of whoever writes them.

use bytes::{Bytes, BytesMut};

use crate::access::{AppendTo, ReadAt, corrupt, read_exactly};
use crate::append::Appender;
use crate::chunk::CHUNK_HEADER_BYTES;
use crate::entry::{ENTRY_HEADER_BYTES, Entry, EntryError, EntryHeader, EntryKind, entry_bytes};
use crate::fault::Fault;
use crate::fields::{u16_at, u64_at};
use crate::position::Position;

#[cfg(test)]
mod tests;

/// A page, its headers included, has at most this many bytes.
pub const CHECKPOINT_PAGE_BYTES: usize = 64 << 10;
/// Version of a page's layout.
pub const CHECKPOINT_VERSION: u8 = 1;
/// Flag of the end page.
pub const FLAG_END: u8 = 1;

/// Bytes of a page's payload before its content.
const PREFIX_BYTES: usize = 16;
const CONTENT_BYTES: usize = CHECKPOINT_PAGE_BYTES - ENTRY_HEADER_BYTES - PREFIX_BYTES;
const END_BYTES: usize = entry_bytes(PREFIX_BYTES);
/// Bytes that are read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// What the end page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointEnd {
    /// Where replay begins: the smallest position that any object is good for.
    pub from: Position,
    /// How many pages there are.
    pub pages: u64,
    /// How many objects there are.
    pub objects: u32,
}

/// Part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPage {
    /// What kind of object, by the numbers of whoever wrote it.
    pub kind: u16,
    /// Which object.
    pub object: u64,
    /// Changes of the object from this position on are not in it.
    pub good_for: Position,
    /// Number of this page, from 0 on.
    pub page: u32,
    /// Pages of the object.
    pub pages: u32,
    /// Its share of the object.
    pub content: Bytes,
}

/// An object, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointObject {
    /// What kind of object, by the numbers of whoever wrote it.
    pub kind: u16,
    /// Which object.
    pub object: u64,
    /// Changes of the object from this position on are not in it.
    pub good_for: Position,
    /// All of it.
    pub content: Bytes,
}

/// Writes a checkpoint, object by object.
#[derive(Debug)]
pub struct CheckpointWriter<W> {
    out: Appender<W>,
    end: CheckpointEnd,
}

impl<W: AppendTo> CheckpointWriter<W> {
    /// Begins a checkpoint in an empty chunk. `now` is where the log ends: where replay would begin
    /// if no object said an earlier position.
    #[must_use]
    pub fn new(out: W, now: Position) -> Self {
        Self {
            out: Appender::new(out),
            end: CheckpointEnd {
                from: now,
                pages: 0,
                objects: 0,
            },
        }
    }

    /// Adds an object.
    ///
    /// # Errors
    ///
    /// What the chunk says.
    ///
    /// # Panics
    ///
    /// If the object has 2^32 pages or more: a chunk ends below 4 GiB.
    pub fn object(
        &mut self,
        kind: u16,
        object: u64,
        good_for: Position,
        content: &[u8],
    ) -> Result<(), Fault> {
        let pages = content.len().div_ceil(CONTENT_BYTES).max(1);
        let pages = u32::try_from(pages).expect("an object is far below 2^32 pages");
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..8].copy_from_slice(&good_for.0.to_le_bytes());
        prefix[8..10].copy_from_slice(&kind.to_le_bytes());
        let mut left = content;
        for page in 0..pages {
            let (now, later) = left.split_at(left.len().min(CONTENT_BYTES));
            let header = page_header(0, object, i64::from(page), pages);
            self.out.new_entry(header, &[&prefix, now])?;
            left = later;
        }
        self.end.pages += u64::from(pages);
        self.end.objects += 1;
        self.end.from = self.end.from.min(good_for);
        Ok(())
    }

    /// Writes the end page. The checkpoint counts once the chunk has got its name.
    ///
    /// # Errors
    ///
    /// What the chunk says.
    pub fn finish(mut self) -> Result<(W, CheckpointEnd), Fault> {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..8].copy_from_slice(&self.end.from.0.to_le_bytes());
        let pages = self.end.pages.cast_signed();
        let header = page_header(FLAG_END, 0, pages, self.end.objects);
        self.out.new_entry(header, &[&prefix])?;
        Ok((self.out.into_inner()?, self.end))
    }
}

const fn page_header(flags: u8, object: u64, base: i64, count: u32) -> EntryHeader {
    EntryHeader {
        kind: EntryKind::CheckpointPage,
        version: CHECKPOINT_VERSION,
        flags,
        length: 0,
        object,
        base,
        count,
    }
}

/// Reads a checkpoint, page by page.
pub struct CheckpointReader<'a> {
    file: &'a dyn ReadAt,
    end: CheckpointEnd,
    /// Where the end page lies.
    end_at: u64,
    /// Where the next page lies.
    at: u64,
    /// What was read ahead from there on.
    window: Bytes,
    pages: u64,
    objects: u32,
    /// The object whose pages have not all come yet.
    open: Option<CheckpointPage>,
    failed: bool,
}

impl core::fmt::Debug for CheckpointReader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CheckpointReader")
            .field("end", &self.end)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a> CheckpointReader<'a> {
    /// Reads the end page: without a whole one, the checkpoint is not complete.
    ///
    /// # Errors
    ///
    /// Corrupt if there is none; otherwise what the system says.
    pub fn open(file: &'a dyn ReadAt) -> Result<Self, Fault> {
        let no_end = || corrupt(file.chunk(), "a checkpoint without a whole end page");
        let first = u64::from(CHUNK_HEADER_BYTES);
        let end_at = file.bytes()?.checked_sub(END_BYTES as u64);
        let end_at = end_at.filter(|at| *at >= first).ok_or_else(no_end)?;
        let bytes = read_exactly(file, end_at, END_BYTES)?;
        let place = u32::try_from(end_at).ok().ok_or_else(no_end)?;
        let entry = Entry::read(&bytes, place).map_err(|error| unreadable(file, end_at, error))?;
        let header = entry.header;
        if header.kind != EntryKind::CheckpointPage || header.flags != FLAG_END {
            return Err(no_end());
        }
        if header.version != CHECKPOINT_VERSION {
            return Err(unknown_version(file, header.version));
        }
        let end = CheckpointEnd {
            from: Position(u64_at(entry.payload, 0)),
            pages: header.base.cast_unsigned(),
            objects: header.count,
        };
        Ok(Self {
            file,
            end,
            end_at,
            at: first,
            window: Bytes::new(),
            pages: 0,
            objects: 0,
            open: None,
            failed: false,
        })
    }

    /// What the end page says.
    #[must_use]
    pub const fn end(&self) -> CheckpointEnd {
        self.end
    }

    /// The next page; none when all were read and counted.
    ///
    /// # Errors
    ///
    /// Corrupt, with the position and the object, if a page is damaged or missing; otherwise what the
    /// system says.
    pub fn next_page(&mut self) -> Result<Option<CheckpointPage>, Fault> {
        if self.failed {
            return Err(corrupt(self.file.chunk(), "a checkpoint that is damaged"));
        }
        self.failed = true;
        let page = if self.at < self.end_at {
            Some(self.read_page()?)
        } else {
            let all = self.pages == self.end.pages && self.objects == self.end.objects;
            if !all || self.open.is_some() {
                let what = format!("pages are missing: {} of {}", self.pages, self.end.pages);
                return Err(corrupt(self.file.chunk(), what));
            }
            None
        };
        self.failed = false;
        Ok(page)
    }

    /// The next object as a whole, for those that are known to be small enough.
    ///
    /// # Errors
    ///
    /// As [`CheckpointReader::next_page`].
    pub fn next_object(&mut self) -> Result<Option<CheckpointObject>, Fault> {
        let Some(first) = self.next_page()? else {
            return Ok(None);
        };
        let (kind, object, good_for) = (first.kind, first.object, first.good_for);
        let mut content = first.content;
        if first.pages > 1 {
            let mut all = BytesMut::from(&content[..]);
            for _ in 1..first.pages {
                let page = self.next_page()?;
                let page = page.ok_or_else(|| corrupt(self.file.chunk(), "pages are missing"))?;
                all.extend_from_slice(&page.content);
            }
            content = all.freeze();
        }
        Ok(Some(CheckpointObject {
            kind,
            object,
            good_for,
            content,
        }))
    }

    fn read_page(&mut self) -> Result<CheckpointPage, Fault> {
        let at = self.at;
        let longest = (self.end_at - at).min(CHECKPOINT_PAGE_BYTES as u64);
        if (self.window.len() as u64) < longest {
            let left = (self.end_at - at).min(WINDOW_BYTES as u64);
            let left = usize::try_from(left).unwrap_or(WINDOW_BYTES);
            self.window = read_exactly(self.file, at, left)?;
        }
        // The end page lies behind it, and its place was a u32.
        let place = u32::try_from(at).unwrap_or(u32::MAX);
        let entry =
            Entry::read(&self.window, place).map_err(|error| unreadable(self.file, at, error))?;
        let header = entry.header;
        let prefix = entry.payload;
        let good = header.kind == EntryKind::CheckpointPage
            && header.flags == 0
            && prefix.len() >= PREFIX_BYTES
            && header.total_bytes() <= self.window.len();
        if !good {
            let what = format!("what lies at byte {at} is no page of a checkpoint");
            return Err(corrupt(self.file.chunk(), what));
        }
        if header.version != CHECKPOINT_VERSION {
            return Err(unknown_version(self.file, header.version));
        }
        let from = ENTRY_HEADER_BYTES + PREFIX_BYTES;
        let content = self
            .window
            .slice(from..ENTRY_HEADER_BYTES + header.length as usize);
        let page = CheckpointPage {
            kind: u16_at(prefix, 8),
            object: header.object,
            good_for: Position(u64_at(prefix, 0)),
            page: u32::try_from(header.base).unwrap_or(u32::MAX),
            pages: header.count,
            content,
        };
        self.in_order(&page)?;
        let total = header.total_bytes();
        self.window = self.window.slice(total..);
        self.at += total as u64;
        self.pages += 1;
        Ok(page)
    }

    /// Checks that a page follows the one before it.
    fn in_order(&mut self, page: &CheckpointPage) -> Result<(), Fault> {
        let expected = self.open.as_ref().map_or(0, |before| before.page + 1);
        let same = self.open.as_ref().is_none_or(|before| {
            (before.kind, before.object, before.good_for, before.pages)
                == (page.kind, page.object, page.good_for, page.pages)
        });
        let good_for_enough = page.good_for >= self.end.from;
        if !same || page.page != expected || page.page >= page.pages || !good_for_enough {
            let what = format!(
                "page {} of {} of object {} at byte {} is out of order",
                page.page, page.pages, page.object, self.at
            );
            return Err(corrupt(self.file.chunk(), what));
        }
        let last = page.page + 1 == page.pages;
        self.objects += u32::from(last);
        self.open = (!last).then(|| CheckpointPage {
            content: Bytes::new(),
            ..page.clone()
        });
        Ok(())
    }
}

fn unreadable(file: &dyn ReadAt, at: u64, error: EntryError) -> Fault {
    let of = match error {
        EntryError::PayloadDamaged(header) => format!(" of object {}", header.object),
        EntryError::Truncated { .. } | EntryError::HeaderDamaged | EntryError::UnknownKind(_) => {
            String::new()
        }
    };
    let what = format!("checkpoint page{of} at byte {at}: {error}");
    corrupt(file.chunk(), what)
}

fn unknown_version(file: &dyn ReadAt, version: u8) -> Fault {
    let what = format!("checkpoint version {version} is unknown to this version");
    corrupt(file.chunk(), what)
}
