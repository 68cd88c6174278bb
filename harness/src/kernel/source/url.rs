//! A kernel on a web server: a tar archive or a plain image, pinned by its
//! hash.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::cache::Key;
use super::super::digest::{CountingReader, HashingWriter};
use super::super::layout::Layout;
use super::super::prepare::Taking;
use super::super::{Error, Progress, archive, layout};
use super::{Asked, Content};
use crate::config::UrlSource;

/// How long the server may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// How long the server may be silent, before its answer and within it.
const SILENCE_DEADLINE: Duration = Duration::from_secs(60);

/// A file on a web server.
pub(super) struct Download<'s>(pub(super) &'s UrlSource);

impl Content for Download<'_> {
    /// The content, wherever it comes from.
    fn key(&self) -> Result<Key, Error> {
        Ok(Key::new("url", [self.0.sha256.as_bytes()]))
    }

    fn get(&self, asked: &Asked<'_>, work: &Path) -> Result<(Layout, Taking), Error> {
        let url = &self.0.url;
        let file = work.join("download");
        download(self.0, &file, asked.progress)?;
        let tree = work.join("tree");
        if archive::is_tar(&file)? {
            std::fs::create_dir(&tree).map_err(Error::io("create", &tree))?;
            archive::unpack_tar_file(&file, url, &tree)?;
        } else {
            std::fs::rename(&file, &tree).map_err(Error::io("create", &tree))?;
        }
        let layout = layout::find(&tree).map_err(|error| match error {
            // The temporary directory means nothing to the user.
            Error::NoImage { .. } => Error::NoImage {
                path: url.clone().into(),
            },
            Error::Image(_) => Error::Archive {
                what: url.clone(),
                reason: "it is neither an archive nor an x86-64 kernel image".to_owned(),
            },
            other => other,
        })?;
        Ok((layout, Taking::Move))
    }
}

/// Downloads to `dest` and checks the hash on the way.
fn download(source: &UrlSource, dest: &Path, progress: &Progress) -> Result<(), Error> {
    let failed = |reason: String| Error::Download {
        url: source.url.clone(),
        reason,
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(CONNECT_DEADLINE))
        .timeout_connect(Some(CONNECT_DEADLINE))
        .timeout_recv_response(Some(SILENCE_DEADLINE))
        .timeout_per_read(Some(SILENCE_DEADLINE))
        .build()
        .into();
    let response = agent
        .get(&source.url)
        .call()
        .map_err(|error| failed(error.to_string()))?;
    let total = response.body().content_length();
    let shown = progress.file(file_name(&source.url), total);
    let mut body = CountingReader::new(response.into_body().into_reader(), |bytes| {
        shown.set(bytes);
    });
    let file = File::create(dest).map_err(Error::io("create", dest))?;
    let mut writer = HashingWriter::new(file);
    let received = copy(&mut body, &mut writer, dest, &failed)?;
    if let Some(total) = total
        && received != total
    {
        return Err(failed(format!(
            "it was cut short: {received} of {total} bytes came"
        )));
    }
    let actual = writer.finish();
    if actual == source.sha256 {
        Ok(())
    } else {
        Err(Error::WrongHash {
            what: source.url.clone(),
            expected: source.sha256.clone(),
            actual,
        })
    }
}

/// `io::copy`, telling a failed read (the network) from a failed write (the
/// disk).
fn copy(
    from: &mut impl io::Read,
    to: &mut impl io::Write,
    dest: &Path,
    failed: &impl Fn(String) -> Error,
) -> Result<u64, Error> {
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                to.write_all(&buffer[..read])
                    .map_err(Error::io("write", dest))?;
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(failed(format!("it ended after {total} bytes: {error}")));
            }
        }
    }
}

/// The last part of an address, without a query.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or(url)
}
