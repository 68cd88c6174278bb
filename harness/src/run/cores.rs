//! The cores of programs that crashed in a guest: which came, and of what they are.
//!
//! They are files of the guest's, so nothing in them is trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{FileHeader64, PT_NOTE};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

/// Bytes of a core to read: its notes are at its start.
const START: u64 = 8 << 20;
/// Cores to name at once.
const MOST: usize = 20;
/// Libraries to name.
const MOST_LIBRARIES: usize = 12;
/// Types of notes (linux/elf.h).
const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_FILE: u32 = 0x4649_4c45;
/// Where the signal is in `struct elf_prstatus`, and the name in `struct elf_prpsinfo`, of 64 bits.
const SIGNAL: usize = 12;
const NAME: usize = 40;

/// The cores of a VM.
#[derive(Debug)]
pub struct Cores {
    dir: PathBuf,
    /// Those that are known, with what changes if another one takes their place.
    known: BTreeMap<OsString, (i64, i64, u64)>,
}

impl Cores {
    /// Of the VM whose cores go to this directory.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            known: BTreeMap::new(),
        }
    }

    /// Those that came since the last call, each as a line.
    pub fn fresh(&mut self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut lines = Vec::new();
        for entry in entries {
            let Ok(meta) = entry.metadata() else { continue };
            let mark = (meta.mtime(), meta.mtime_nsec(), meta.len());
            // The guest could leave links here.
            if !meta.is_file() || self.known.insert(entry.file_name(), mark) == Some(mark) {
                continue;
            }
            if lines.len() < MOST {
                lines.push(line(&entry.path()));
            }
        }
        lines.sort();
        lines
    }
}

/// What the start of a core says of itself: the program, its signal, its libraries.
pub fn read(bytes: &[u8]) -> Option<(String, u16, BTreeSet<String>)> {
    let core = Core::read(bytes)?;
    Some((core.program, core.signal, core.libraries))
}

fn line(path: &Path) -> String {
    let about = start_of(path).and_then(|bytes| Core::read(&bytes));
    let shown = path.display();
    match about {
        None => format!("a program crashed: {shown}"),
        Some(Core {
            program,
            signal,
            libraries,
        }) => {
            let more = libraries.len().saturating_sub(MOST_LIBRARIES);
            let mut named: Vec<String> = libraries.into_iter().take(MOST_LIBRARIES).collect();
            if more > 0 {
                named.push(format!("and {more} more"));
            }
            let with = if named.is_empty() {
                String::new()
            } else {
                format!(", with {}", named.join(", "))
            };
            format!("{program} ended by signal {signal}: {shown}{with}")
        }
    }
}

fn start_of(path: &Path) -> Option<Vec<u8>> {
    let mut options = File::options();
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = options.read(true).custom_flags(flags.bits()).open(path);
    let mut bytes = Vec::new();
    file.ok()?.take(START).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What a core says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Core {
    /// The executable.
    program: String,
    signal: u16,
    /// The shared libraries that it had.
    libraries: BTreeSet<String>,
}

impl Core {
    /// Reads the start of one of 64 bits.
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let (mut name, mut signal, mut files) = (String::new(), None, Vec::new());
        for segment in header.program_headers(endian, bytes).ok()? {
            if segment.p_type(endian) != PT_NOTE {
                continue;
            }
            let Ok(Some(mut notes)) = segment.notes(endian, bytes) else {
                continue;
            };
            while let Ok(Some(note)) = notes.next() {
                match note.n_type(endian).0 {
                    // The first is of the thread that crashed.
                    NT_PRSTATUS if signal.is_none() => {
                        let bytes = note.desc().get(SIGNAL..SIGNAL + 2)?;
                        signal = bytes.try_into().ok().map(u16::from_le_bytes);
                    }
                    NT_PRPSINFO => name = text(note.desc().get(NAME..NAME + 16)?),
                    NT_FILE => files = mapped(note.desc()).unwrap_or_default(),
                    _ => {}
                }
            }
        }
        let is_it =
            |file: &&String| base(file).get(..15.min(base(file).len())) == Some(name.as_str());
        let program = files.iter().find(is_it).unwrap_or(&name).clone();
        let libraries = files.into_iter().filter(|file| base(file).contains(".so"));
        Some(Self {
            program,
            signal: signal?,
            libraries: libraries.collect(),
        })
    }
}

/// The files of `NT_FILE`: a count, the size of a page, three numbers for each mapping, their names.
fn mapped(desc: &[u8]) -> Option<Vec<String>> {
    let count = u64::from_le_bytes(desc.get(..8)?.try_into().ok()?);
    let skipped = usize::try_from(count.checked_mul(24)?.checked_add(16)?).ok()?;
    let names = desc.get(skipped..)?.split(|byte| *byte == 0);
    let names = names.take(usize::try_from(count).ok()?).map(text);
    Some(names.filter(|name| !name.is_empty()).collect())
}

/// Up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn note(kind: u32, desc: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [5, u32::try_from(desc.len()).unwrap(), kind] {
            note.extend(number.to_le_bytes());
        }
        note.extend(b"CORE\0\0\0\0");
        note.extend(desc);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    /// A core of `sleep`, which signal 11 ended.
    fn core() -> Vec<u8> {
        let mut status = vec![0; 336];
        status[SIGNAL] = 11;
        let mut info = vec![0; 136];
        info[NAME..NAME + 5].copy_from_slice(b"sleep");
        let mut files = 3_u64.to_le_bytes().to_vec();
        files.extend([0; 8 + 3 * 24]);
        files.extend(b"/usr/bin/sleep\0/usr/bin/sleep\0/usr/lib/libc.so.6\0");
        let notes = [
            note(NT_PRSTATUS, &status),
            note(NT_PRPSINFO, &info),
            note(NT_FILE, &files),
        ]
        .concat();
        let mut core = b"\x7fELF\x02\x01\x01".to_vec();
        core.resize(16, 0);
        // Type, machine, version, entry, program headers, sections, flags.
        core.extend([4, 0, 62, 0, 1, 0, 0, 0]);
        core.extend([0; 8]);
        core.extend(64_u64.to_le_bytes());
        core.extend([0; 12]);
        core.extend([64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        core.extend([PT_NOTE.0.to_le_bytes(), [4, 0, 0, 0]].concat());
        for number in [120, 0, 0, notes.len() as u64, 0, 4] {
            core.extend(number.to_le_bytes());
        }
        core.extend(notes);
        core
    }

    #[test]
    fn a_core_names_its_program_its_signal_and_its_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let mut cores = Cores::new(dir.path().to_owned());
        assert!(cores.fresh().is_empty());
        let path = dir.path().join("core.sleep");
        fs::write(&path, core()).unwrap();
        fs::write(dir.path().join("core.x"), "no core").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("core.link")).unwrap();
        let [sleep, other] = cores.fresh().try_into().unwrap();
        let expected = format!(
            "/usr/bin/sleep ended by signal 11: {}, with /usr/lib/libc.so.6",
            path.display()
        );
        assert_eq!(sleep, expected);
        assert!(other.starts_with("a program crashed: "), "{other}");
        assert!(cores.fresh().is_empty());
        fs::write(&path, &core()[..300]).unwrap();
        assert_eq!(cores.fresh().len(), 1);
    }

    proptest! {
        #[test]
        fn damaged_cores_are_read_without_harm(
            changes in proptest::collection::vec((0_usize..2000, any::<u8>()), 1..20),
            length in 0_usize..2000,
        ) {
            let mut core = core();
            for (at, byte) in changes {
                let place = at % core.len();
                core[place] = byte;
            }
            core.truncate(length);
            let _ = Core::read(&core);
        }
    }
}
