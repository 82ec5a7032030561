//! Walks through a request by its shape, before it is decoded.
//!
//! `kafka-protocol` reserves memory for as many elements as a list announces; a request of a hundred
//! bytes could so ask for gigabytes. A shape says of each schema only where its lists, strings and
//! tagged fields are. Walking it proves that every announced element is really there, and counts the
//! elements, since one of three bytes on the wire can take a hundred and fifty decoded.

use kafka_protocol::messages::ApiKey;

pub(crate) use super::walker::Flaw;
use super::walker::Walker;

/// Most list elements and unknown tagged fields in one request.
///
/// Decoded, an element takes up to about 150 bytes: 40 MB for the largest request of all. A client
/// that asks for all partitions of a hundred thousand topics is well within.
pub(crate) const ELEMENTS_MAX: u32 = 1 << 18;

/// Where the parts of a message are, for all versions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The first version with compact lengths and tagged fields.
    pub(crate) flexible: i16,
    /// The fields, in order.
    pub(crate) fields: &'static [Field],
}

/// A field, and the versions that have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) from: i16,
    pub(crate) to: i16,
    pub(crate) kind: Kind,
}

/// What a field is made of, as far as its length goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string.
    Text,
    /// A byte string.
    Blob,
    /// A list of structures.
    List(&'static [Field]),
    /// A list of strings.
    Texts,
    /// A list of numbers of so many bytes.
    Numbers(usize),
    /// A structure that may be missing: a byte other than 1 says so.
    Maybe(&'static [Field]),
    /// Tagged fields that the decoder knows: their content must be exactly as long as it says.
    ///
    /// Stands last in its structure, in place of the tagged fields that every flexible one has.
    Known(&'static [(u32, Field)]),
}

/// Checks a message of `key` in `version`; says how many bytes follow it.
///
/// # Errors
///
/// It is not one.
pub(crate) fn check(key: ApiKey, version: i16, body: &[u8]) -> Result<usize, Flaw> {
    let Some(shape) = super::shapes::of(key) else {
        return Ok(body.len());
    };
    let flexible = version >= shape.flexible;
    let mut walk = Walk {
        walker: Walker::new(body),
        version,
        flexible,
        elements: 0,
    };
    walk.structure(shape.fields)?;
    Ok(walk.walker.left())
}

struct Walk<'a> {
    walker: Walker<'a>,
    version: i16,
    flexible: bool,
    elements: u32,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &'static [Field]) -> Result<(), Flaw> {
        let mut known: &[(u32, Field)] = &[];
        let version = self.version;
        for field in fields.iter().filter(|f| (f.from..=f.to).contains(&version)) {
            match field.kind {
                Kind::Known(tags) => known = tags,
                other @ (Kind::Fixed(_)
                | Kind::Text
                | Kind::Blob
                | Kind::List(_)
                | Kind::Texts
                | Kind::Maybe(_)
                | Kind::Numbers(_)) => self.plain(other)?,
            }
        }
        if self.flexible {
            self.tags(known)
        } else {
            Ok(())
        }
    }

    fn plain(&mut self, kind: Kind) -> Result<(), Flaw> {
        match kind {
            Kind::Fixed(count) => self.walker.take(count).map(drop),
            Kind::Text if self.flexible => self.walker.compact_string(),
            Kind::Text => self.walker.string().map(drop),
            Kind::Blob if self.flexible => self.walker.compact(),
            Kind::Blob => self.walker.blob(),
            Kind::Numbers(width) => {
                let count = self.count(width)?;
                self.walker.take(count * width).map(drop)
            }
            Kind::Texts => {
                for _ in 0..self.count(1)? {
                    self.plain(Kind::Text)?;
                }
                Ok(())
            }
            Kind::List(fields) => {
                for _ in 0..self.count(1)? {
                    self.structure(fields)?;
                }
                Ok(())
            }
            Kind::Maybe(fields) => match self.walker.take(1)? {
                [1] => self.structure(fields),
                _ => Ok(()),
            },
            Kind::Known(tags) => self.tags(tags),
        }
    }

    /// How many elements a list announces: no more than there are bytes for, or than may be.
    fn count(&mut self, element_bytes_min: usize) -> Result<usize, Flaw> {
        let announced = if self.flexible {
            self.walker.compact_length()?.unwrap_or(0)
        } else {
            match self.walker.int32()? {
                -1 => 0,
                count => usize::try_from(count).map_err(|_negative| Flaw::Length)?,
            }
        };
        if announced > self.walker.left() / element_bytes_min {
            return Err(Flaw::TooShort);
        }
        self.count_elements(announced)?;
        Ok(announced)
    }

    fn count_elements(&mut self, count: usize) -> Result<(), Flaw> {
        let count = u32::try_from(count).map_err(|_too_big| Flaw::TooMany(ELEMENTS_MAX))?;
        self.elements = self.elements.saturating_add(count);
        if self.elements > ELEMENTS_MAX {
            Err(Flaw::TooMany(ELEMENTS_MAX))
        } else {
            Ok(())
        }
    }

    fn tags(&mut self, known: &'static [(u32, Field)]) -> Result<(), Flaw> {
        for _ in 0..self.walker.varint()? {
            self.count_elements(1)?;
            let tag = self.walker.varint()?;
            let size = usize::try_from(self.walker.varint()?).map_err(|_too_big| Flaw::Length)?;
            let field = known
                .iter()
                .find(|(t, _)| *t == tag)
                .map(|(_, field)| field);
            match field {
                Some(field) if (field.from..=field.to).contains(&self.version) => {
                    self.known_tag(field.kind, size)?;
                }
                Some(_) | None => self.walker.take(size).map(drop)?,
            }
        }
        Ok(())
    }

    fn known_tag(&mut self, kind: Kind, size: usize) -> Result<(), Flaw> {
        let before = self.walker.left();
        self.tag_value(kind)?;
        let taken = before - self.walker.left();
        if taken == size {
            Ok(())
        } else {
            Err(Flaw::TagSize)
        }
    }

    /// The content of a tagged field. One that is a structure is written as a list of its fields.
    fn tag_value(&mut self, kind: Kind) -> Result<(), Flaw> {
        match kind {
            Kind::List(fields) => self.structure(fields),
            Kind::Fixed(_)
            | Kind::Text
            | Kind::Blob
            | Kind::Texts
            | Kind::Numbers(_)
            | Kind::Maybe(_)
            | Kind::Known(_) => self.plain(kind),
        }
    }
}
