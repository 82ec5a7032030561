//! Mulgil: meta.
