//! Mulgil: log.
