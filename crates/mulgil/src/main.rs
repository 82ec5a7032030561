//! The `mulgil` program.

fn main() {}
