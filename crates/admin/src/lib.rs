//! Mulgil: admin.
