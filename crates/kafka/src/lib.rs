//! Mulgil: kafka.
