//! Mulgil: core.
