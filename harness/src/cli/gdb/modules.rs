//! The modules of a running guest for gdb: their files on the host, and where the guest has loaded
//! their sections.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::blocking::blocking;
use crate::hint::with_causes;
use crate::kernel::modules::{self, ModuleFile};
use crate::run::command::{self, Command, CommandEnd, Input};
use crate::run::kept;
use crate::vm::card::{ATTACH_SOCKET, Running};

/// Prints file and address of each section, such as `overlay/sections/.text:0xffffffffc0324000`. The
/// kernel gives an address only to who reads it at once (kernel/module/sysfs.c), and a shell does not.
const LIST: &str = "cd /sys/module && grep -H . */sections/.[!.]*";
/// How long the guest may take for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Sections that are gone after the start, or say nothing to gdb.
const USELESS: [&str; 4] = [".init", ".note", ".orc_", ".gnu."];
/// More modules than any guest has.
const MOST: usize = 2000;

/// The sections of each module, by name, with their addresses.
type Sections = BTreeMap<String, BTreeMap<String, u64>>;

/// Writes a script of gdb into `dir`, with the symbols of the modules that are loaded in a guest.
/// Their files come from `/lib/modules/<release>` on the host. An error says why gdb gets no symbols.
pub(super) async fn script(vm: &Running, dir: &Path) -> Result<Option<PathBuf>, String> {
    let Some(files) = vm.card.modules.clone() else {
        return Ok(None);
    };
    let listed = tokio::time::timeout(PATIENCE, list(vm)).await;
    let listed = listed.map_err(|_| "the guest does not answer".to_owned())??;
    let sections = read(&listed);
    let dir = dir.to_owned();
    let written = blocking(move || write(&sections, &modules::files(&files)?, &dir));
    let written = written.await.map_err(|error| with_causes(&error))?;
    Ok(Some(written))
}

/// What the guest prints.
async fn list(vm: &Running) -> Result<String, String> {
    let attached = kept::connect(&vm.dir.join(ATTACH_SOCKET)).await;
    let mut attached = attached.map_err(|error| error.to_string())?;
    let command = Command {
        argv: ["/bin/sh", "-c", LIST].map(Into::into).to_vec(),
        cwd: b"/".to_vec(),
        timeout: Some(PATIENCE),
        ..Command::default()
    };
    let input = Input {
        stdin: tokio::sync::mpsc::channel(1).1,
        notices: tokio::sync::mpsc::unbounded_channel().1,
    };
    let (mut out, mut errors) = (Vec::new(), tokio::io::sink());
    let ran = command::run(&mut attached.control, command, input, &mut out, &mut errors).await;
    match ran.map_err(|error| error.to_string())? {
        CommandEnd::Ended(_) if out.is_empty() => Err("the guest lists no sections".to_owned()),
        CommandEnd::Ended(_) => Ok(String::from_utf8_lossy(&out).into_owned()),
        CommandEnd::NotStarted { message, .. } => Err(message),
        CommandEnd::OutputFailed(error) => Err(error.to_string()),
    }
}

/// Reads what the guest printed. It is not to be trusted: names become parts of a script.
fn read(listed: &str) -> Sections {
    let is_name = |name: &str| {
        let letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !name.is_empty() && name.chars().all(letter)
    };
    let mut found = Sections::new();
    for line in listed.lines() {
        let Some((path, address)) = line.split_once(':') else {
            continue;
        };
        let address = address.strip_prefix("0x").unwrap_or(address);
        if let Some((module, section)) = path.split_once("/sections/")
            && let Ok(address) = u64::from_str_radix(address, 16)
            && address != 0
            && is_name(module)
            && is_name(section)
            && !USELESS.iter().any(|start| section.starts_with(start))
            && (found.len() < MOST || found.contains_key(module))
        {
            let sections = found.entry(module.to_owned()).or_default();
            sections.insert(section.to_owned(), address);
        }
    }
    found
}

/// Why the script cannot be written.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A module cannot be read.
    #[error(transparent)]
    Module(#[from] modules::Error),
    /// Something cannot be written.
    #[error("cannot write the symbols of modules: {0}")]
    Write(#[from] io::Error),
}

/// Unpacks the modules that gdb cannot read, and writes the script.
fn write(sections: &Sections, files: &[ModuleFile], dir: &Path) -> Result<PathBuf, Error> {
    let mut script = String::new();
    for ModuleFile { name, path } in files {
        let Some(sections) = sections.get(name) else {
            continue;
        };
        let Some(text) = sections.get(".text") else {
            continue;
        };
        let path = if path.extension().is_some_and(|extension| extension == "ko") {
            path.clone()
        } else {
            let plain = dir.join(format!("{name}.ko"));
            std::fs::write(&plain, modules::decompress(path)?)?;
            plain
        };
        let _ = write!(script, "add-symbol-file \"{}\" {text:#x}", path.display());
        for (section, address) in sections.iter().filter(|(section, _)| *section != ".text") {
            let _ = write!(script, " -s {section} {address:#x}");
        }
        script.push('\n');
    }
    let path = dir.join("modules.gdb");
    std::fs::write(&path, script)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_guest_says_where_sections_are_and_nothing_else() {
        let listed = "overlay/sections/.text:0xffffffffc0324000\n\
                      overlay/sections/.data:0xffffffffc0334000\n\
                      overlay/sections/.init.text:0xffffffffc0335000\n\
                      hidden/sections/.text:0x0000000000000000\n\
                      bad\"\nshell/sections/.text:0x1\n\
                      a;b/sections/.text:0x1\n\
                      a/sections/.text$(x):0x1\n\
                      a/sections/.text:nonsense\n";
        let found = read(listed);
        let overlay = BTreeMap::from([
            (".text".to_owned(), 0xffff_ffff_c032_4000),
            (".data".to_owned(), 0xffff_ffff_c033_4000),
        ]);
        let shell = BTreeMap::from([(".text".to_owned(), 1)]);
        let expected = [("overlay".to_owned(), overlay), ("shell".to_owned(), shell)];
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn only_loaded_modules_are_named_and_packed_ones_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, file: &str| ModuleFile {
            name: name.to_owned(),
            path: dir.path().join(file),
        };
        let packed = zstd::encode_all(b"module".as_slice(), 1).unwrap();
        std::fs::write(dir.path().join("packed.ko.zst"), packed).unwrap();
        let files = [
            file("other", "other.ko"),
            file("packed", "packed.ko.zst"),
            file("plain", "plain.ko"),
        ];
        let listed = "plain/sections/.text:0x1000\nplain/sections/.data:0x2000\n\
                      packed/sections/.text:0x3000\n";
        let script = write(&read(listed), &files, dir.path()).unwrap();
        let place = dir.path().display();
        let expected = format!(
            "add-symbol-file \"{place}/packed.ko\" 0x3000\n\
             add-symbol-file \"{place}/plain.ko\" 0x1000 -s .data 0x2000\n"
        );
        assert_eq!(std::fs::read_to_string(script).unwrap(), expected);
        assert_eq!(
            std::fs::read(dir.path().join("packed.ko")).unwrap(),
            b"module"
        );
    }
}
