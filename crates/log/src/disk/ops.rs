//! Operations on a disk as values and as bytes: what a recording is made of.
//!
//! ```text
//! byte  0  length   u32   of what follows the checksum
//!       4  crc      u32   CRC-32C of what follows
//!       8  sequence u64   1, 2, 3 ...
//!      16  kind     u8    and its fields: numbers as u64, names and bytes with a u32 length before
//! ```
//!
//! A recording that ends in the middle of an operation ends before it: the process was killed there.

use std::io;
use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use mulgil_record::crc::crc32c;

use super::cut::{FaultPlan, Model, write_directory};

/// One operation that changes a disk. A file has a number, which it keeps under all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// The file was there, durable, when the recording began.
    Base {
        /// Its number.
        file: u64,
        /// Its name.
        name: String,
        /// All of it.
        bytes: Bytes,
    },
    /// An empty file was made.
    Create {
        /// Its number.
        file: u64,
        /// Its name.
        name: String,
    },
    /// Bytes were written.
    Write {
        /// Into which file.
        file: u64,
        /// From where on.
        offset: u64,
        /// What.
        bytes: Bytes,
    },
    /// A file was cut or lengthened.
    SetLen {
        /// Which.
        file: u64,
        /// To how many bytes.
        bytes: u64,
    },
    /// Room was made in a file.
    Allocate {
        /// Which.
        file: u64,
        /// From where on.
        from: u64,
        /// For how many bytes.
        bytes: u64,
    },
    /// A file was synced, and the caller told so after this was recorded.
    Sync {
        /// Which.
        file: u64,
    },
    /// A file got another name.
    Rename {
        /// From this.
        from: String,
        /// To this.
        to: String,
    },
    /// A name was removed.
    Remove {
        /// Which.
        name: String,
    },
    /// All names were synced.
    SyncNames,
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("one write is far below 4 GiB"));
    out.put_slice(bytes);
}

impl DiskOp {
    /// The operation as bytes of a recording, number `sequence`.
    ///
    /// # Panics
    ///
    /// If it writes 4 GiB or more.
    #[must_use]
    pub fn encode(&self, sequence: u64) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u64_le(sequence);
        match self {
            Self::Base { file, name, bytes } => {
                body.put_u8(1);
                body.put_u64_le(*file);
                put_bytes(&mut body, name.as_bytes());
                put_bytes(&mut body, bytes);
            }
            Self::Create { file, name } => {
                body.put_u8(2);
                body.put_u64_le(*file);
                put_bytes(&mut body, name.as_bytes());
            }
            Self::Write {
                file,
                offset,
                bytes,
            } => {
                body.put_u8(3);
                body.put_u64_le(*file);
                body.put_u64_le(*offset);
                put_bytes(&mut body, bytes);
            }
            Self::SetLen { file, bytes } => {
                body.put_u8(4);
                body.put_u64_le(*file);
                body.put_u64_le(*bytes);
            }
            Self::Allocate { file, from, bytes } => {
                body.put_u8(5);
                body.put_u64_le(*file);
                body.put_u64_le(*from);
                body.put_u64_le(*bytes);
            }
            Self::Sync { file } => {
                body.put_u8(6);
                body.put_u64_le(*file);
            }
            Self::Rename { from, to } => {
                body.put_u8(7);
                put_bytes(&mut body, from.as_bytes());
                put_bytes(&mut body, to.as_bytes());
            }
            Self::Remove { name } => {
                body.put_u8(8);
                put_bytes(&mut body, name.as_bytes());
            }
            Self::SyncNames => body.put_u8(9),
        }
        let mut out = Vec::with_capacity(body.len() + 8);
        out.put_u32_le(u32::try_from(body.len()).expect("one write is far below 4 GiB"));
        out.put_u32_le(crc32c(&[&body]));
        out.extend_from_slice(&body);
        out
    }

    /// Takes the operation at the front of `bytes` off; nothing if it is not whole.
    fn decode(bytes: &mut Bytes) -> Option<(u64, Self)> {
        let length = bytes.try_get_u32_le().ok()? as usize;
        let crc = bytes.try_get_u32_le().ok()?;
        if bytes.len() < length {
            return None;
        }
        let mut body = bytes.split_to(length);
        if crc32c(&[&body]) != crc {
            return None;
        }
        let sequence = body.try_get_u64_le().ok()?;
        let kind = body.try_get_u8().ok()?;
        Some((sequence, Self::decode_fields(kind, &mut body)?))
    }

    fn decode_fields(kind: u8, body: &mut Bytes) -> Option<Self> {
        Some(match kind {
            1 => Self::Base {
                file: body.try_get_u64_le().ok()?,
                name: take_name(body)?,
                bytes: take_bytes(body)?,
            },
            2 => Self::Create {
                file: body.try_get_u64_le().ok()?,
                name: take_name(body)?,
            },
            3 => Self::Write {
                file: body.try_get_u64_le().ok()?,
                offset: body.try_get_u64_le().ok()?,
                bytes: take_bytes(body)?,
            },
            4 => Self::SetLen {
                file: body.try_get_u64_le().ok()?,
                bytes: body.try_get_u64_le().ok()?,
            },
            5 => Self::Allocate {
                file: body.try_get_u64_le().ok()?,
                from: body.try_get_u64_le().ok()?,
                bytes: body.try_get_u64_le().ok()?,
            },
            6 => Self::Sync {
                file: body.try_get_u64_le().ok()?,
            },
            7 => Self::Rename {
                from: take_name(body)?,
                to: take_name(body)?,
            },
            8 => Self::Remove {
                name: take_name(body)?,
            },
            9 => Self::SyncNames,
            _ => return None,
        })
    }
}

fn take_bytes(body: &mut Bytes) -> Option<Bytes> {
    let length = body.try_get_u32_le().ok()? as usize;
    (body.len() >= length).then(|| body.split_to(length))
}

fn take_name(body: &mut Bytes) -> Option<String> {
    String::from_utf8(take_bytes(body)?.to_vec()).ok()
}

/// What a process did to its disk.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    ops: Vec<DiskOp>,
    /// Where in the file each operation ends.
    ends: Vec<u64>,
}

impl Recording {
    /// Reads the file that a recording disk wrote, up to the last whole operation.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::parse(std::fs::read(path)?.into()))
    }

    /// As [`Recording::open`], from bytes.
    #[must_use]
    pub fn parse(mut bytes: Bytes) -> Self {
        let all = bytes.len();
        let mut found = Self::default();
        while let Some((sequence, op)) = DiskOp::decode(&mut bytes) {
            if sequence != found.ops.len() as u64 + 1 {
                break;
            }
            found.ops.push(op);
            found.ends.push((all - bytes.len()) as u64);
        }
        found
    }

    /// The operations, in order.
    #[must_use]
    pub fn ops(&self) -> &[DiskOp] {
        &self.ops
    }

    /// How many operations lie wholly in the first `bytes` bytes of the recording.
    ///
    /// Who notes the length of the file when an answer arrives knows by this which operations were
    /// done before that answer.
    #[must_use]
    pub fn ops_within(&self, bytes: u64) -> usize {
        self.ends.partition_point(|end| *end <= bytes)
    }

    /// The disk's state after the first `cut_at_op` operations.
    #[must_use]
    pub fn model(&self, cut_at_op: usize) -> Model {
        let mut model = Model::default();
        for op in self.ops.iter().take(cut_at_op) {
            model.apply(op);
        }
        model
    }
}

/// Writes the directory that a power cut after the first `cut_at_op` operations leaves, at `into`.
///
/// `into` must not exist. The same recording, cut and plan write the same directory.
///
/// # Errors
///
/// What the system says.
pub fn replay_recording(
    recording: &Recording,
    cut_at_op: usize,
    plan: FaultPlan,
    into: &Path,
) -> io::Result<()> {
    write_directory(&recording.model(cut_at_op).cut(plan), into)
}
