//! Downloads: over HTTP, through the proxies of the environment, trusting the system's
//! certificates; and copies from `file:` addresses. Resumes interrupted downloads. Offline, only
//! copies work.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::StatusCode;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{Error, digest};
use crate::offline;

/// How long the server may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// How long the server may be silent, before and during its answer.
const SILENCE_DEADLINE: Duration = Duration::from_secs(60);

/// How often to resume a download. A server that always breaks off at the start of a file would
/// never deliver it.
const RESUMES: u32 = 4;

/// A downloaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Downloaded {
    /// In hexadecimal digits.
    pub(super) sha256: String,
    /// In hexadecimal digits. Not for security: archives of old packages use it to name a file.
    pub(super) sha1: String,
}

/// Called with the number of bytes so far, and the total if known.
pub(super) type OnProgress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// Downloads `url` to `dest`.
pub(super) fn to_file(
    url: &str,
    dest: &Path,
    on_progress: OnProgress<'_>,
) -> Result<Downloaded, Error> {
    let file = File::create(dest).map_err(Error::io("create", dest))?;
    let mut sink = Sink {
        file,
        dest,
        sha256: Sha256::new(),
        sha1: Sha1::new(),
        bytes: 0,
    };
    if let Some(path) = local(url) {
        let mut from = File::open(&path).map_err(|error| not_read(url, &error))?;
        let total = from.metadata().ok().map(|meta| meta.len());
        sink.take(&mut from, total, on_progress)
            .map_err(|broken| match broken {
                Broken::Off(reason) => failed(url, reason),
                Broken::Other(error) => error,
            })?;
    } else {
        over_http(url, &mut sink, on_progress)?;
    }
    Ok(Downloaded {
        sha256: digest::hex(&sink.sha256.finalize()),
        sha1: digest::hex(&sink.sha1.finalize()),
    })
}

/// What a server has at an address.
#[derive(Debug)]
pub(super) enum Page {
    /// The same as at the time that was named.
    Unchanged,
    /// This.
    New {
        /// The whole of it.
        body: Vec<u8>,
        /// When it was changed last, in the server's words.
        modified: Option<String>,
    },
}

/// Downloads `url`, which has at most `limit` bytes.
pub(super) fn to_memory(url: &str, limit: u64) -> Result<Vec<u8>, Error> {
    match page(url, limit, None)? {
        Page::New { body, .. } => Ok(body),
        Page::Unchanged => Err(failed(url, "the server sent nothing".to_owned())),
    }
}

/// The same, unless it was not changed `since` a time that the server told.
pub(super) fn page(url: &str, limit: u64, since: Option<&str>) -> Result<Page, Error> {
    let mut body = Vec::new();
    let mut modified = None;
    let mut reader: Box<dyn Read> = if let Some(path) = local(url) {
        Box::new(File::open(&path).map_err(|error| not_read(url, &error))?)
    } else {
        let response = ask(url, 0, since)?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Page::Unchanged);
        }
        let header = response.headers().get("Last-Modified");
        modified = header.and_then(|value| value.to_str().ok().map(str::to_owned));
        Box::new(response.into_body().into_reader())
    };
    reader
        .by_ref()
        .take(limit + 1)
        .read_to_end(&mut body)
        .map_err(|error| failed(url, format!("it ended after {} bytes: {error}", body.len())))?;
    if body.len() as u64 > limit {
        return Err(failed(url, format!("it is longer than {limit} bytes")));
    }
    Ok(Page::New { body, modified })
}

/// Says whether `url` may be asked for.
pub(super) fn allowed(url: &str) -> Result<(), Error> {
    if local(url).is_none() && offline::is_on() {
        return Err(Error::Offline {
            url: url.to_owned(),
        });
    }
    Ok(())
}

/// The path of a `file:` or `copy:` address, sources.list(5).
fn local(url: &str) -> Option<PathBuf> {
    let path = url
        .strip_prefix("file:")
        .or_else(|| url.strip_prefix("copy:"))?;
    let path = path.strip_prefix("//").unwrap_or(path);
    Some(PathBuf::from(path))
}

fn over_http(url: &str, sink: &mut Sink<'_>, on_progress: OnProgress<'_>) -> Result<(), Error> {
    let mut broke = None;
    for _ in 0..=RESUMES {
        match part(url, sink, on_progress) {
            Ok(()) => return Ok(()),
            Err(Broken::Off(reason)) if sink.bytes > 0 => {
                tracing::info!("{url}: {reason}; resuming");
                broke = Some(reason);
            }
            // Why it broke off says more than why resuming failed.
            Err(broken) => {
                return Err(match (broken, broke) {
                    (Broken::Other(Error::Download { reason: then, .. }), Some(reason)) => {
                        failed(url, format!("{reason}, and could not be resumed: {then}"))
                    }
                    (Broken::Other(error), _) => error,
                    (Broken::Off(reason), _) => failed(url, reason),
                });
            }
        }
    }
    Err(failed(url, broke.unwrap_or_default()))
}

/// Downloads the rest of `url`, in one answer.
fn part(url: &str, sink: &mut Sink<'_>, on_progress: OnProgress<'_>) -> Result<(), Broken> {
    let response = ask(url, sink.bytes, None).map_err(Broken::Other)?;
    if sink.bytes > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
        // A server without range support sends everything again.
        sink.restart()?;
    }
    let length = response.body().content_length();
    let total = length.map(|length| sink.bytes + length);
    let mut body = response.into_body().into_reader();
    sink.take(&mut body, total, on_progress)
}

/// What asks servers, for the whole process: it keeps connections open, which
/// several downloads from one server then share.
fn agent() -> &'static ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        ureq::Agent::config_builder()
            .timeout_resolve(Some(CONNECT_DEADLINE))
            .timeout_connect(Some(CONNECT_DEADLINE))
            .timeout_recv_response(Some(SILENCE_DEADLINE))
            .timeout_per_read(Some(SILENCE_DEADLINE))
            .tls_config(TlsConfig::builder().root_certs(roots()).build())
            .build()
            .into()
    })
}

/// What servers' certificates are checked against: the system's, or where it has none, as small
/// containers do, Mozilla's of the day when kiln was built.
fn roots() -> RootCerts {
    let is_chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::info!("the system's certificates: {error}");
    }
    if !is_chosen && found.certs.is_empty() && found.errors.is_empty() {
        tracing::info!("no certificates on this machine: HTTPS goes by Mozilla's, which kiln has");
        return RootCerts::WebPki;
    }
    let certificates = found.certs.iter();
    RootCerts::from(certificates.map(|certificate| Certificate::from_der(certificate).to_owned()))
}

/// Asks a server for `url`, from byte `from` on, or only if it was changed
/// `since` a time that the server told.
fn ask(
    url: &str,
    from: u64,
    since: Option<&str>,
) -> Result<ureq::http::Response<ureq::Body>, Error> {
    allowed(url)?;
    // Do not let the server decompress indices.
    let mut request = agent().get(url).header("Accept-Encoding", "identity");
    if from > 0 {
        request = request.header("Range", format!("bytes={from}-"));
    }
    if let Some(since) = since {
        request = request.header("If-Modified-Since", since);
    }
    request.call().map_err(|error| Error::Download {
        url: url.to_owned(),
        gone: matches!(error, ureq::Error::StatusCode(404 | 410)),
        reason: error.to_string(),
    })
}

fn failed(url: &str, reason: String) -> Error {
    Error::Download {
        url: url.to_owned(),
        gone: false,
        reason,
    }
}

fn not_read(url: &str, error: &io::Error) -> Error {
    Error::Download {
        url: url.to_owned(),
        gone: error.kind() == io::ErrorKind::NotFound,
        reason: error.to_string(),
    }
}

/// The destination of a download.
struct Sink<'d> {
    file: File,
    dest: &'d Path,
    sha256: Sha256,
    sha1: Sha1,
    bytes: u64,
}

/// Why a download ended early.
enum Broken {
    /// Nothing came for a long time, or the connection broke or was closed.
    Off(String),
    /// Trying again would not help.
    Other(Error),
}

impl Sink<'_> {
    /// Copies from `from`, up to `total` bytes including existing ones.
    fn take(
        &mut self,
        from: &mut impl Read,
        total: Option<u64>,
        on_progress: OnProgress<'_>,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let reason = format!("it ended after {} bytes: {error}", self.bytes);
                    return Err(Broken::Off(reason));
                }
            };
            self.file
                .write_all(&buffer[..read])
                .map_err(|error| Broken::Other(Error::io("write", self.dest)(error)))?;
            self.sha256.update(&buffer[..read]);
            self.sha1.update(&buffer[..read]);
            self.bytes += read as u64;
            on_progress(self.bytes, total);
        }
        match total {
            Some(total) if self.bytes != total => Err(Broken::Off(format!(
                "it was cut short: {} of {total} bytes came",
                self.bytes
            ))),
            _ => Ok(()),
        }
    }

    fn restart(&mut self) -> Result<(), Broken> {
        self.file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .map_err(|error| Broken::Other(Error::io("write", self.dest)(error)))?;
        self.sha256 = Sha256::new();
        self.sha1 = Sha1::new();
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// Serves `body` and breaks off after `each` bytes of every answer; the head of
    /// each request comes back.
    fn breaking_off(body: &'static [u8], each: usize, ranges: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> = head
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let from = head
                    .iter()
                    .find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("range: bytes=")
                            .map(str::to_owned)
                    })
                    .filter(|_| ranges)
                    .map_or(0, |range| {
                        range.trim_end_matches('-').parse::<usize>().unwrap()
                    });
                let status = if from > 0 {
                    "206 Partial Content"
                } else {
                    "200 OK"
                };
                let rest = &body[from..];
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    rest.len()
                );
                let _ = stream.write_all(&rest[..each.min(rest.len())]);
            }
        });
        url
    }

    #[test]
    fn an_interrupted_download_resumes() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        let mut seen = Vec::new();
        let url = breaking_off(b"abcdefgh", 3, true);
        let came = to_file(&url, &dest, &mut |bytes, total| seen.push((bytes, total))).unwrap();
        assert_eq!(std::fs::read(&dest).unwrap(), b"abcdefgh");
        assert_eq!(came.sha256, digest::of_bytes(b"abcdefgh"));
        assert_eq!(seen.last(), Some(&(8, Some(8))));
    }

    #[test]
    fn a_download_that_always_breaks_off_fails_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let url = breaking_off(b"abcdefgh", 3, false);
        let error = to_file(&url, &dir.path().join("file"), &mut |_, _| ()).unwrap_err();
        assert!(error.to_string().contains("ended after 3 bytes"), "{error}");
    }

    #[test]
    fn a_file_is_copied_and_one_that_is_not_there_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::write(&from, b"abc").unwrap();
        let dest = dir.path().join("to");
        let url = format!("file://{}", from.display());
        let came = to_file(&url, &dest, &mut |_, _| ()).unwrap();
        // FIPS 180-4, example of a one-block message.
        assert_eq!(came.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        let error = to_file("file:/nowhere/x", &dest, &mut |_, _| ()).unwrap_err();
        assert!(
            matches!(error, Error::Download { gone: true, .. }),
            "{error}"
        );
        assert!(
            to_memory(&url, 2)
                .unwrap_err()
                .to_string()
                .contains("longer than 2 bytes")
        );
    }
}
