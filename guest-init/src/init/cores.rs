//! Where the cores of programs go: core(5).

use std::fs;
use std::os::unix::fs::symlink;

use guest_init::plan::Cores;
use nix::sys::resource::{Resource, setrlimit};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// Stands for the directory, since a pattern has at most 127 bytes.
const LINK: &str = "/run/kiln-cores";

/// Makes the kernel write cores there: the last one of each program, by its name.
pub(super) fn set(cores: &Cores) -> std::io::Result<()> {
    symlink(&cores.dir, LINK)?;
    fs::write(PATTERN, format!("{LINK}/core.%e"))?;
    // For PID 1, and so for what it starts.
    setrlimit(Resource::RLIMIT_CORE, cores.limit, cores.limit)?;
    Ok(())
}
