//! Consumer groups, as doors ask for them: by name, with the machine's own words.

pub use placeholder::*;

mod placeholder {
    //! Filled when the group machine is in `core`.

    /// What a door asks of a group.
    #[derive(Debug)]
    pub struct GroupRequest;

    /// What a group answers.
    #[derive(Debug)]
    pub struct GroupReply;
}
