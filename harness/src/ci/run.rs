//! Runs one step.

use std::io::{self, Write as _};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;

use super::environment::Environment;
use super::step::Step;
use crate::child::Supervised;
use crate::hint::Hint;
use crate::report::github;

/// How long a step that is being ended may take to stop its own VMs.
const GRACE: Duration = Duration::from_secs(15);
/// How long a command's output may stay open after its end.
const DRAIN: Duration = Duration::from_secs(5);
/// Longest line that is kept in one piece, in bytes.
const LINE: usize = 64 << 10;

/// A step could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `nix`.
    #[error("cannot enter the flake's environment: nix is not installed")]
    NoNix,
    /// The step did not start, or could not be waited for.
    #[error("cannot run step {step}: {source}")]
    Io {
        /// Which.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoNix => vec![
                "install Nix: https://nixos.org/download, or the package nix-bin on Debian"
                    .to_owned(),
                "`kiln run` needs no Nix: give it --tests and --bpftrace".to_owned(),
            ],
            Self::Io { .. } => Vec::new(),
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// By its deadline.
    Deadline,
    /// By a signal to kiln.
    Interrupted(Signal),
}

/// Where a step's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// To our own streams, as it is.
    Through,
    /// To our stdout, line by line with a mark in front, so that the CI service takes none for a
    /// command: it trims spaces and then looks for `::` or `##[`.
    Marked,
}

/// Runs `step` until its end, `deadline`, or until `interrupt` is ready.
pub async fn run(
    step: &Step,
    environment: &Environment,
    show: Show,
    deadline: Duration,
    interrupt: impl Future<Output = Signal>,
) -> Result<End, Error> {
    let failed = |source: io::Error| Error::Io {
        step: step.name.as_str(),
        source,
    };
    let Some((program, arguments)) = step.argv.split_first() else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    if !step.directory.is_dir() {
        let directory = step.directory.display();
        let source = io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no directory {directory}"),
        );
        return Err(failed(source));
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&step.directory)
        .env_clear()
        .envs(environment.of_nix(|name| std::env::var_os(name)))
        .stdin(Stdio::null());
    if show == Show::Marked {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = Supervised::spawn(command)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoNix,
            _ => failed(source),
        })?;
    let (stdout, stderr) = (child.take_stdout(), child.take_stderr());
    let shown = tokio::spawn(async move {
        tokio::join!(mark(stdout), mark(stderr));
    });
    let end = tokio::select! {
        status = child.wait() => End::Exited(status.map_err(failed)?),
        () = tokio::time::sleep(deadline) => End::Deadline,
        signal = interrupt => End::Interrupted(signal),
    };
    if !matches!(end, End::Exited(_)) {
        // Not reaped yet, so the number is still its own.
        let _ = killpg(child.pid(), Signal::SIGTERM);
        child.stop(GRACE).await.map_err(failed)?;
    }
    // A grandchild may hold the pipe open forever.
    let abort = shown.abort_handle();
    if tokio::time::timeout(DRAIN, shown).await.is_err() {
        abort.abort();
    }
    Ok(end)
}

/// Copies lines to stdout, each with a mark in front.
async fn mark(pipe: Option<impl AsyncRead + Unpin>) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::with_capacity(LINE, pipe);
    let mut line = Vec::new();
    loop {
        let (taken, ended) = match reader.fill_buf().await {
            // Show what came before the error.
            Ok([]) | Err(_) => break,
            Ok(bytes) => {
                if let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
                    line.extend_from_slice(&bytes[..at]);
                    (at + 1, true)
                } else {
                    line.extend_from_slice(bytes);
                    (bytes.len(), false)
                }
            }
        };
        reader.consume(taken);
        if ended || line.len() >= LINE {
            say(&line);
            line.clear();
        }
    }
    if !line.is_empty() {
        say(&line);
    }
}

fn say(line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    // A closed stdout does not stop the step.
    let _ = writeln!(io::stdout(), "{}", github::marked(text));
}
