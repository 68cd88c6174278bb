//! Sources of a `kernels.toml` that are files: `files`, and `url` with its hash.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::check::{Checker, absolute};

/// A kernel on a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSource {
    /// `http` or `https` address of an image, a package or an archive.
    pub url: String,
    /// Expected SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// One of the files of a kernel: a package, an archive or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// Where it is.
    pub place: FilePlace,
    /// Expected SHA-256, 64 lower-case hexadecimal digits; a file of this machine
    /// may be taken as it is.
    pub sha256: Option<String>,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilePlace {
    /// At an `http` or `https` address.
    Url(String),
    /// On this machine; absolute.
    Path(PathBuf),
}

impl std::fmt::Display for FilePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FilePlace::Url(url) => f.write_str(url),
            FilePlace::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One of `files`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPart {
    url: Option<Spanned<String>>,
    path: Option<Spanned<PathBuf>>,
    sha256: Option<Spanned<String>>,
}

impl Checker<'_> {
    pub(super) fn url(
        &mut self,
        label: &str,
        url: &Spanned<String>,
        sha256: Option<Spanned<String>>,
    ) -> Option<UrlSource> {
        let Some(sha256) = sha256 else {
            self.problem(
                &url.span(),
                format!("{label} has a url without sha256; allowed: sha256 = \"64 hexadecimal digits\" beside it"),
            );
            return None;
        };
        let hash = self.hash(label, &sha256)?;
        let address = url.get_ref();
        if !(address.starts_with("http://") || address.starts_with("https://")) {
            self.problem(
                &url.span(),
                format!(
                    "{label}: url {address:?} cannot be fetched; allowed: http:// and https://"
                ),
            );
            return None;
        }
        Some(UrlSource {
            url: address.clone(),
            sha256: hash,
        })
    }

    fn hash(&mut self, label: &str, sha256: &Spanned<String>) -> Option<String> {
        let hash = sha256.get_ref().to_ascii_lowercase();
        if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            self.problem(
                &sha256.span(),
                format!("{label}: sha256 is not a hash; allowed: 64 hexadecimal digits"),
            );
            return None;
        }
        Some(hash)
    }

    pub(super) fn files(
        &mut self,
        label: &str,
        raw: Spanned<Vec<Spanned<RawPart>>>,
    ) -> Option<Vec<FileSource>> {
        if raw.get_ref().is_empty() {
            self.problem(
                &raw.span(),
                format!(
                    "{label} has no files; allowed: one or more of {{ url, sha256 }} and {{ path }}"
                ),
            );
            return None;
        }
        // Check every file before any is used, to report all problems at once.
        let files: Vec<_> = raw
            .into_inner()
            .into_iter()
            .map(|part| self.file(label, part))
            .collect();
        files.into_iter().collect()
    }

    fn file(&mut self, label: &str, raw: Spanned<RawPart>) -> Option<FileSource> {
        let at = raw.span();
        match raw.into_inner() {
            RawPart {
                url: Some(url),
                path: None,
                sha256,
            } => {
                let UrlSource { url, sha256 } = self.url(label, &url, sha256)?;
                Some(FileSource {
                    place: FilePlace::Url(url),
                    sha256: Some(sha256),
                })
            }
            RawPart {
                url: None,
                path: Some(path),
                sha256,
            } => {
                let sha256 = match &sha256 {
                    Some(sha256) => Some(self.hash(label, sha256)?),
                    None => None,
                };
                Some(FileSource {
                    place: FilePlace::Path(absolute(&self.base, path.get_ref())),
                    sha256,
                })
            }
            _ => {
                self.problem(
                    &at,
                    format!("{label}: a file has one place; allowed: url (with sha256) or path"),
                );
                None
            }
        }
    }
}
