//! Packages that have left the mirrors and that no pin names, from Debian's archive of old packages
//! by its interface for programs (`/mr/binary/PACKAGE/VERSION/binfiles`).
//!
//! It signs nothing, and names files by SHA-1: whoever takes a package from it must check what is in it.

use serde::Deserialize;
use tempfile::TempPath;

use super::super::{Error, download, partial};
use super::content::Request;
use super::mirror;

/// Bytes of an answer at most: it has some 100 for each architecture.
const MOST: u64 = 1 << 20;

/// The files of one version of a package.
#[derive(Debug, Deserialize)]
struct Answer {
    result: Vec<Listed>,
}

/// One of them.
#[derive(Debug, Deserialize)]
struct Listed {
    /// SHA-1 in hexadecimal digits.
    hash: String,
    /// In Debian's words. Not every service says it.
    architecture: Option<String>,
}

/// A package of which only the SHA-1 was checked.
pub(super) struct OldPackage {
    /// Where it came from.
    pub(super) url: String,
    /// The file.
    pub(super) file: TempPath,
}

/// Downloads a version of a package; `None` if the archive does not have it.
pub(super) fn fetch(
    request: &Request<'_>,
    package: &str,
    version: &str,
) -> Result<Option<OldPackage>, Error> {
    let asked = mirror::old_files(package, version);
    let answer = match download::to_memory(&asked, MOST) {
        Ok(answer) => answer,
        Err(Error::Download { gone: true, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(sha1) = choose(&answer, request.arch.debian()).map_err(|reason| Error::Download {
        url: asked,
        gone: false,
        reason,
    })?
    else {
        return Ok(None);
    };
    let url = mirror::old_file(&sha1);
    let file = partial::create(request.cache, "downloads")?;
    let name = format!("{package} {version}");
    let came = request
        .progress
        .download(&name, None, |heard| download::to_file(&url, &file, heard))?;
    if came.sha1 != sha1 {
        return Err(Error::WrongHash {
            what: format!("{name} from {url}"),
            expected: sha1,
            actual: came.sha1,
        });
    }
    Ok(Some(OldPackage { url, file }))
}

/// The SHA-1 of the file for `arch`; an error says what is wrong with the answer.
fn choose(answer: &[u8], arch: &str) -> Result<Option<String>, String> {
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|error| format!("its answer: {error}"))?;
    let fits = |file: &Listed| file.architecture.as_deref().is_none_or(|of| of == arch);
    let Some(file) = answer.result.into_iter().find(fits) else {
        return Ok(None);
    };
    let is_sha1 = file.hash.len() == 40 && file.hash.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_sha1 {
        return Err(format!("its answer: {:?} is no SHA-1", file.hash));
    }
    Ok(Some(file.hash.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_file_of_the_architecture_is_chosen() {
        let (amd64, arm64) = ("ab".repeat(20), "CD".repeat(20));
        let answer = format!(
            r#"{{"_comment": "foo", "binary": "x", "result": [
                {{"architecture": "arm64", "hash": "{arm64}"}},
                {{"architecture": "amd64", "hash": "{amd64}"}}]}}"#
        );
        let choose = |arch| choose(answer.as_bytes(), arch).unwrap();
        assert_eq!(choose("amd64"), Some(amd64));
        assert_eq!(choose("arm64"), Some("cd".repeat(20)));
        assert_eq!(choose("riscv64"), None);
    }

    #[test]
    fn an_answer_without_architectures_is_of_the_only_one() {
        let answer = format!(r#"{{"result": [{{"hash": "{}"}}]}}"#, "0".repeat(40));
        assert_eq!(
            choose(answer.as_bytes(), "amd64").unwrap(),
            Some("0".repeat(40))
        );
    }

    #[test]
    fn what_is_no_hash_becomes_no_address() {
        for hash in ["", "../../etc/passwd", &"g".repeat(40), &"a".repeat(41)] {
            let answer = format!(r#"{{"result": [{{"hash": "{hash}"}}]}}"#);
            let reason = choose(answer.as_bytes(), "amd64").unwrap_err();
            assert!(reason.contains("is no SHA-1"), "{reason}");
        }
        assert!(choose(b"<html>", "amd64").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = choose(&answer, "amd64");
        }
    }
}
