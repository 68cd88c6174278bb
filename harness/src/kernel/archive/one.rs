//! One file of a Debian package.

use std::fs::File;
use std::io;
use std::path::Path;

use super::stream::decoded;
use super::{Error, deb, open, told};

/// Writes the file at `path` in the package `file` to `dest`; `what` names the package in errors.
pub fn take_file(file: &Path, what: &str, path: &Path, dest: &Path) -> Result<(), Error> {
    take(file, path, dest)?.map_err(|error| told(what, &error))
}

fn take(file: &Path, path: &Path, dest: &Path) -> Result<io::Result<()>, Error> {
    let mut dest = File::create(dest).map_err(Error::io("write", dest))?;
    let package = open(file)?;
    let take = || {
        let stream = decoded(deb::data(package)?)?;
        let mut archive = tar::Archive::new(&stream);
        stream.expect_header();
        for entry in archive.entries()? {
            let mut entry = entry?;
            stream.expect_content();
            let is_it = entry.path()?.strip_prefix(".").is_ok_and(|own| own == path)
                || entry.path()? == path;
            if is_it && entry.header().entry_type().is_file() {
                return io::copy(&mut entry, &mut dest).map(drop);
            }
            io::copy(&mut entry, &mut io::sink())?;
            stream.expect_header();
        }
        Err(io::Error::other(format!("it has no {}", path.display())))
    };
    Ok(take())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn one_file_of_a_package_comes_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree/usr/lib");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("wanted"), "this one").unwrap();
        fs::write(tree.join("other"), "not this").unwrap();
        let run = |script: &str| {
            let mut command = Command::new("sh");
            let status = command
                .args(["-c", script])
                .current_dir(dir.path())
                .status();
            assert!(status.unwrap().success(), "{script}");
        };
        run("tar cJf data.tar.xz -C tree . && ar rc p.deb data.tar.xz");
        let (deb, dest) = (dir.path().join("p.deb"), dir.path().join("dest"));
        take_file(&deb, "p", "usr/lib/wanted".as_ref(), &dest).unwrap();
        assert_eq!(fs::read(&dest).unwrap(), b"this one");
        let missing = take_file(&deb, "p", "usr/lib/none".as_ref(), &dest).unwrap_err();
        let said = crate::hint::with_causes(&missing);
        assert!(said.contains("it has no usr/lib/none"), "{said}");
    }
}
