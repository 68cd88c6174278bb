//! Runs programs of the host to their end (nix): in their own process group, with a deadline,
//! reaped, and ended if kiln ends.
//!
//! The caller only waits, so this is plain blocking code: the parent-death signal depends on the
//! thread that forks (prctl(2)), and here that thread waits until the child is reaped.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::child::dies_with_parent;

/// How often to check the child.
const POLL: Duration = Duration::from_millis(50);

/// The first executable file called `name` on `PATH`.
pub(crate) fn on_path(name: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is not installed.
    #[error("{program} is not installed")]
    Missing {
        /// The program.
        program: String,
    },
    /// It took too long.
    #[error("gave up after {} s waiting for {what}", after.as_secs())]
    Deadline {
        /// What kiln waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// It could not be started or waited for.
    #[error("cannot run {program}: {source}")]
    Io {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// What a program left.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// When to give up.
pub(crate) struct Limit<'a> {
    /// Longest time without progress.
    pub(crate) patience: Duration,
    /// A number that changes with progress, called at every check with the number of bytes on
    /// stderr so far.
    pub(crate) progress: &'a mut dyn FnMut(u64) -> u64,
}

struct Running {
    child: Child,
}

impl Running {
    fn kill(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // Fails only if the group is gone already.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

/// Runs `command` to its end with empty input; errors name it as `what`.
pub(crate) fn run(
    mut command: Command,
    what: &str,
    limit: &mut Limit<'_>,
) -> Result<Output, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    dies_with_parent(&mut command);
    let child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing {
            program: program.clone(),
        },
        _ => Error::Io {
            program: program.clone(),
            source,
        },
    })?;
    let mut running = Running { child };
    let said = Arc::new(AtomicU64::new(0));
    let ignored = Arc::new(AtomicU64::new(0));
    let stdout = running.child.stdout.take().map(|pipe| drain(pipe, ignored));
    let stderr = {
        let said = Arc::clone(&said);
        running.child.stderr.take().map(|pipe| drain(pipe, said))
    };
    let mut look = || (limit.progress)(said.load(Ordering::Relaxed));

    let mut value = look();
    let mut changed = Instant::now();
    let status = loop {
        if let Some(status) = running.child.try_wait().map_err(|source| Error::Io {
            program: program.clone(),
            source,
        })? {
            break status;
        }
        let now = look();
        if now != value {
            value = now;
            changed = Instant::now();
        }
        if changed.elapsed() > limit.patience {
            running.kill();
            return Err(Error::Deadline {
                what: what.to_owned(),
                after: limit.patience,
            });
        }
        std::thread::sleep(POLL);
    };
    Ok(Output {
        status,
        stdout: collect(stdout),
        stderr: String::from_utf8_lossy(&collect(stderr)).into_owned(),
    })
}

/// Runs `command` with a deadline on the whole of it.
pub(crate) fn run_within(
    command: Command,
    what: &str,
    deadline: Duration,
) -> Result<Output, Error> {
    run(
        command,
        what,
        &mut Limit {
            patience: deadline,
            progress: &mut |_| 0,
        },
    )
}

fn drain(mut pipe: impl Read + Send + 'static, count: Arc<AtomicU64>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Show what was read before the error.
                Ok(0) | Err(_) => return bytes,
                Ok(length) => {
                    bytes.extend_from_slice(&buffer[..length]);
                    count.fetch_add(length as u64, Ordering::Relaxed);
                }
            }
        }
    })
}

fn collect(thread: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    thread
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_program_that_does_nothing_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & wait"]);
        let begun = Instant::now();
        let error = run_within(command, "a nap", Duration::from_millis(200))
            .err()
            .unwrap();
        assert!(error.to_string().contains("waiting for a nap"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn output_and_status_come_back() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let output = run_within(command, "sh", Duration::from_secs(10)).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, "err\n");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run_within(
            Command::new("kiln-no-such-program"),
            "it",
            Duration::from_secs(1),
        );
        assert!(matches!(error, Err(Error::Missing { .. })));
    }
}
