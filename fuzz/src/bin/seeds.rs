//! Writes the seeds of all targets into the folder named by the argument, a folder for each target.
//! Used by `cargo xtask fuzz`.

use std::io;
use std::path::PathBuf;

use mulgil_fuzz::TARGETS;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("name a folder to write to"))?;
    for target in TARGETS {
        let folder = folder.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
