//! Mulgil: broker.
