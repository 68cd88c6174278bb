//! The harness's end of a share process.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::process::{ChildStdout, Command};

use super::{Error, MAX_TAG_LEN, SUBCOMMAND};
use crate::child::Supervised;

/// How many bytes of a share's messages to show in an error.
const LOG_TAIL: usize = 2_000;

/// A share to start.
#[derive(Debug, Clone)]
pub struct ShareConfig {
    /// The `kiln` binary to run as the server; `/proc/self/exe` outside tests.
    pub kiln: PathBuf,
    /// virtiofs tag.
    pub tag: String,
    /// The directory to serve.
    pub dir: PathBuf,
    /// Whether the guest may change it.
    pub writable: bool,
    /// A file that lists the visible entries of the directory, one per line; `None` shows all.
    pub only: Option<PathBuf>,
    /// Whether the guest should soon see changes that the host makes to files.
    pub edited: bool,
    /// Where to listen for QEMU (vhost-user); must not exist.
    pub socket: PathBuf,
    /// Where the server's messages go.
    pub log: PathBuf,
}

/// A running share process; killed and reaped when dropped.
#[derive(Debug)]
pub struct Share {
    config: ShareConfig,
    child: Supervised,
}

impl Share {
    /// Starts serving. The socket listens when this returns, so QEMU may be
    /// started at once.
    pub async fn start(config: ShareConfig) -> Result<Self, Error> {
        if config.tag.is_empty() || config.tag.len() > MAX_TAG_LEN {
            return Err(Error::Tag { tag: config.tag });
        }
        // Checked here rather than in the child, where the error would come late and be unclear.
        if let Err(source) = fs::read_dir(&config.dir) {
            return Err(Error::Directory {
                dir: config.dir,
                source,
            });
        }
        let listen = |source| Error::Listen {
            socket: config.socket.clone(),
            source,
        };
        let listener = UnixListener::bind(&config.socket).map_err(listen)?;
        let spawn = |source| Error::Spawn {
            dir: config.dir.clone(),
            source,
        };
        let log = File::create(&config.log).map_err(spawn)?;
        let mut command = Command::new(&config.kiln);
        command.arg(SUBCOMMAND).arg("--dir").arg(&config.dir);
        if config.writable {
            command.arg("--rw");
        }
        if let Some(only) = &config.only {
            command.arg("--only").arg(only);
        }
        if config.edited {
            command.arg("--edited");
        }
        command
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::piped())
            .stderr(log);
        let child = Supervised::spawn(command).await.map_err(spawn)?;
        Ok(Self { config, child })
    }

    /// The server's process.
    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Where the server reports the use of its descriptors, one byte per
    /// [`PressureSignal`](super::PressureSignal); at most once.
    pub fn take_signals(&mut self) -> Option<ChildStdout> {
        self.child.take_stdout()
    }

    /// Waits until the server ends: successfully if QEMU has ended, otherwise with an error and its
    /// last messages. Can be cancelled and called again.
    pub async fn wait(&mut self) -> Result<(), Error> {
        let status = self.child.wait().await.map_err(|source| Error::Spawn {
            dir: self.config.dir.clone(),
            source,
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Exited {
                dir: self.config.dir.clone(),
                status,
                log: self.log_tail(),
            })
        }
    }

    /// Ends the server: gives it `grace` to notice that QEMU has ended, then kills it. It is reaped
    /// and its socket removed when this returns.
    pub async fn stop(mut self, grace: Duration) {
        let _ = self.child.stop(grace).await;
        let _ = fs::remove_file(&self.config.socket);
    }

    /// The last lines that the server wrote.
    fn log_tail(&self) -> String {
        let text = fs::read(&self.config.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(LOG_TAIL)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    fn config(dir: &Path, kiln: &str) -> ShareConfig {
        ShareConfig {
            kiln: kiln.into(),
            tag: "root".to_owned(),
            dir: dir.to_owned(),
            writable: false,
            only: None,
            edited: false,
            socket: dir.join("s"),
            log: dir.join("log"),
        }
    }

    #[tokio::test]
    async fn a_server_that_fails_is_an_error_with_its_status() {
        let dir = tempfile::tempdir().unwrap();
        let mut share = Share::start(config(dir.path(), "false")).await.unwrap();
        assert!(matches!(share.wait().await, Err(Error::Exited { .. })));
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), "true");
        config.dir = "/nonexistent/share".into();
        let error = Share::start(config).await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/share"));
    }

    #[tokio::test]
    async fn a_tag_must_fit_into_the_device() {
        let dir = tempfile::tempdir().unwrap();
        for tag in [String::new(), "t".repeat(MAX_TAG_LEN + 1)] {
            let mut config = config(dir.path(), "true");
            config.tag = tag;
            assert!(matches!(Share::start(config).await, Err(Error::Tag { .. })));
        }
    }
}
