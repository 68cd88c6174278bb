//! Where the cores of programs go: core(5).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;

use guest_init::plan::Cores;
use nix::fcntl::OFlag;

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
const PIPE_LIMIT: &str = "/proc/sys/kernel/core_pipe_limit";
/// Stands for the directory, which may be too long for a pattern.
const LINK: &str = "/run/kiln-cores";
/// The argument by which the kernel starts this program for a core.
pub(crate) const KEEP: &str = "core";
/// Programs that may crash at once; above zero, a program ends only when its core is written.
const AT_ONCE: &str = "16";
/// How many of the longest cores all of a guest's may take together.
const MOST: u64 = 8;
/// Bytes to move at once. Such a piece of zeros becomes a hole.
const PIECE: usize = 64 << 10;

/// Makes the kernel pipe cores to this program, which it starts as root: other users cannot write
/// to the directory.
pub(super) fn set(cores: &Cores) -> io::Result<()> {
    symlink(&cores.dir, LINK)?;
    fs::write(PIPE_LIMIT, AT_ONCE)?;
    // Needs no file of the root.
    fs::write(PATTERN, format!("|/proc/1/exe {KEEP} {} %e", cores.limit))
}

/// Keeps the core on stdin, by these arguments of the pattern.
pub(crate) fn keep(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let limit = arguments
        .next()
        .and_then(|word| word.to_str()?.parse().ok());
    let (Some(limit), Some(program)) = (limit, arguments.next()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut name = OsString::from("core.");
    name.push(program);
    write(&mut io::stdin().lock(), Path::new(LINK), &name, limit)
}

/// Writes the last core of a name. What is longer than the limit, or than what all cores may still
/// take, is cut off.
fn write(core: &mut impl Read, dir: &Path, name: &OsString, limit: u64) -> io::Result<()> {
    let mut others = 0;
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_name() != *name {
            others += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    let room = limit.saturating_mul(MOST).saturating_sub(others);
    if room == 0 {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    // As the kernel does when it writes a core itself.
    options.custom_flags(OFlag::O_NOFOLLOW.bits());
    let mut file = options.open(dir.join(name))?;
    copy(&mut core.take(limit.min(room)), &mut file)
}

/// A pipe has no holes, but most cores do.
fn copy(from: &mut impl Read, to: &mut File) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        if from.by_ref().take(PIECE as u64).read_to_end(&mut piece)? == 0 {
            break;
        }
        if piece.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(i64::try_from(piece.len()).unwrap_or(0)))?;
        } else {
            to.write_all(&piece)?;
        }
    }
    let length = to.stream_position()?;
    to.set_len(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_core_keeps_its_bytes_and_its_holes() {
        let dir = tempfile::tempdir().unwrap();
        let mut core = vec![7; 10];
        core.resize(8 * PIECE, 0);
        core.push(9);
        core.resize(12 * PIECE, 0);
        write(&mut core.as_slice(), dir.path(), &"core.x".into(), 1 << 30).unwrap();
        let file = dir.path().join("core.x");
        assert_eq!(fs::read(&file).unwrap(), core);
        let blocks = file.metadata().unwrap().blocks();
        assert!(blocks * 512 <= 3 * PIECE as u64, "{blocks}");
    }

    #[test]
    fn cores_are_cut_off_at_their_limit_and_that_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let length = |name: &str| {
            let core = vec![1; 500];
            write(&mut core.as_slice(), dir.path(), &name.into(), 300).unwrap();
            dir.path()
                .join(name)
                .metadata()
                .map_or(0, |meta| meta.len())
        };
        for _ in 0..3 {
            // The last one of a name takes the place of the one before.
            assert_eq!(length("core.a"), 300);
        }
        for name in ["b", "c", "d", "e", "f", "g"] {
            assert_eq!(length(name), 300);
        }
        fs::write(dir.path().join("h"), [0; 200]).unwrap();
        assert_eq!(length("core.i"), 100);
        assert_eq!(length("core.j"), 0);
        assert!(!dir.path().join("core.j").exists());
    }
}
