//! Mistakes that a recording disk makes on purpose, to show that a search for lost data finds them.
//!
//! Each is what a careless change to the writer might do. The caller is told that all went well. Here
//! stand the names only; what makes them is compiled with the feature `recording`.

/// A planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A file is never synced.
    NoSync,
    /// The caller goes on while the sync is still to come.
    EarlyReply,
    /// A sync goes to the file that was made before.
    WrongFile,
    /// The directory is never synced.
    NoDirectorySync,
    /// The first sync of each file, that of its header, is left out.
    NoHeaderSync,
    /// One sync in eight is left out; the next one makes up for it.
    SometimesNoSync,
}

impl Planted {
    /// All of them, with the names by which they are asked for.
    pub const ALL: [(&'static str, Self); 6] = [
        ("no-sync", Self::NoSync),
        ("early-reply", Self::EarlyReply),
        ("wrong-file", Self::WrongFile),
        ("no-directory-sync", Self::NoDirectorySync),
        ("no-header-sync", Self::NoHeaderSync),
        ("sometimes-no-sync", Self::SometimesNoSync),
    ];

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(known, planted)| (known == name).then_some(planted))
    }
}
