//! Writes the seeds of all targets into the folder named by the argument, a folder for each target;
//! without an argument it names the targets. Used by `cargo xtask fuzz`.
#![expect(clippy::print_stdout, reason = "a command line talks to its user")]

use std::path::Path;

use mulgil_fuzz::TARGETS;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1);
    for target in TARGETS {
        let Some(folder) = &folder else {
            println!("{}", target.name);
            continue;
        };
        let folder = Path::new(folder).join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in (target.seeds)() {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
