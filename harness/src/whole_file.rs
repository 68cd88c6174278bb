//! Writes files atomically: to a temporary file in the same directory, which is then renamed.
//! Another harness, or one after a crash, finds either the old file or the new one.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes `contents` to `path`, readable for everybody that the umask allows.
pub(crate) fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(contents))
}

/// The same for contents that are written piece by piece.
pub(crate) fn write_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // `parent` of a bare name is empty.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(dir.unwrap_or(Path::new(".")))?;
    write(file.as_file_mut())?;
    file.persist(path)?;
    Ok(())
}

/// Reads what [`remember`] wrote to `path`; `None` if it cannot be read.
pub(crate) fn recall<T: DeserializeOwned + Default>(path: &Path) -> T {
    fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Writes `value` to `path` for [`recall`], and creates its directory if necessary.
pub(crate) fn remember<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    write(path, &serde_json::to_vec_pretty(value)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"one").unwrap();
        let failed = write_with(&path, |file| {
            file.write_all(b"half of t")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_forgotten_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/file.json");
        assert!(recall::<Vec<u32>>(&path).is_empty());
        remember(&path, &[1, 2]).unwrap();
        assert_eq!(recall::<Vec<u32>>(&path), [1, 2]);
        fs::write(&path, "{\"other\":1}").unwrap();
        assert!(recall::<Vec<u32>>(&path).is_empty());
        remember(&path, &[3]).unwrap();
        assert_eq!(recall::<Vec<u32>>(&path), [3]);
    }
}
