//! `kiln exec --reuse`: runs a command in a VM that another process keeps.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use guest_init::message::Request;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::keep::{Asked, Booted};
use super::sight;
use crate::cli::Failure;
use crate::cli::context::Context;
use crate::cli::guest_command::{Errand, attend, code, explain, tell_report};
use crate::cli::input::{self, Interrupts};
use crate::cli::streams::Streams;
use crate::cli::vm_args::VmArgs;
use crate::config::Selected;
use crate::exit_code;
use crate::kernel::{KernelImage, hex};
use crate::report::escape;
use crate::run::kept::{self, Attached, Over, Place};
use crate::vm::control::Error;

/// How often to start a VM that has ended before the command could start.
const TRIES: u32 = 3;
/// How long another kiln may take to start the VM that we want, and ours: kernels are downloaded on
/// the way.
const START: Duration = Duration::from_secs(30 * 60);

/// What `--reuse` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Run a command, and keep the VM until nobody has used it for so long.
    For(Duration),
    /// End the VM.
    Stop,
}

impl Reuse {
    /// How long the VM may be idle.
    pub(super) fn idle(self) -> Option<Duration> {
        match self {
            Self::For(idle) => Some(idle),
            Self::Stop => None,
        }
    }
}

impl FromStr for Reuse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "stop" {
            return Ok(Self::Stop);
        }
        match crate::duration::parse(text) {
            Ok(idle) if !idle.is_zero() => Ok(Self::For(idle)),
            Ok(_) => Err("a VM that may not be idle cannot be kept".to_owned()),
            Err(error) => Err(format!("{error}; or `stop`")),
        }
    }
}

/// The VM that is kept for a kernel and options.
pub(super) struct Kept<'a> {
    context: &'a Context,
    selected: &'a Selected,
    vm_args: &'a VmArgs,
    place: Place,
    /// What the guest sees besides its root.
    visible: Vec<PathBuf>,
}

impl<'a> Kept<'a> {
    /// Finds out which VM that is.
    pub(super) async fn new(
        context: &'a Context,
        selected: &'a Selected,
        vm_args: &'a VmArgs,
        visible: &[PathBuf],
    ) -> Result<Self, Failure> {
        let kernel = context.provide(selected).await?;
        let visible = sight::extra(visible, &vm_args.root.root());
        let place = Place::new(&key(context, vm_args, &kernel, &visible))?;
        Ok(Self {
            context,
            selected,
            vm_args,
            place,
            visible,
        })
    }

    /// Ends the VM, if there is one.
    pub(super) async fn stop(&self) -> Result<(), Failure> {
        match kept::stop(self.place.socket()).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Failure::new(
                exit_code::SETUP_FAILED,
                format!(
                    "cannot stop the VM of kernel {}: {error}",
                    self.selected.name()
                ),
            )),
            // No VM is kept, or it is ending.
            _ => Ok(()),
        }
    }

    /// Runs a command in the VM, which is started if necessary: by this kiln with these `words`.
    pub(super) async fn run(
        &self,
        words: &[OsString],
        errand: Errand,
        interrupts: &mut Interrupts,
        streams: &mut Streams,
    ) -> Result<u8, Failure> {
        let attached = tokio::select! {
            biased;
            signal = interrupts.next() => return Ok(input::code_of(signal)),
            attached = self.attach(words, streams) => attached?,
        };
        let (limit, program) = (
            errand.command.timeout,
            errand.command.argv.first().cloned().unwrap_or_default(),
        );
        let Attached { mut control, last } = attached;
        // The guest keeps names and contents of files that the host may have changed since.
        control
            .queue(&Request::DropCaches { pages: true })
            .map_err(|error| lost(self.selected, &error.to_string()))?;
        let ran = {
            let loss = async { Error::Elsewhere(last.lost().await) };
            attend(&mut control, loss, errand, interrupts, streams).await?
        };
        // Ends what the command left behind, or the command itself.
        drop(control);
        let ran = match ran {
            Ok(ran) => ran,
            Err(signal) => return Ok(input::code_of(signal)),
        };
        let over = last
            .over()
            .await
            .map_err(|text| lost(self.selected, &text))?;
        self.tell(streams, &over);
        let end = ran.map_err(|error| lost(self.selected, &error.to_string()))?;
        code(end, limit).map_err(|failure| explain(failure, &program, self.vm_args, self.context))
    }

    fn tell(&self, streams: &Streams, over: &Over) {
        for (kind, summary) in &over.reports {
            tell_report(streams, self.selected, &escape::line(kind), summary);
        }
        for note in &over.notes {
            streams.note(&format!("kiln: {}", escape::line(note)));
        }
    }

    /// Connects to the VM, and starts it first if it is not up.
    async fn attach(&self, words: &[OsString], streams: &Streams) -> Result<Attached, Failure> {
        for _ in 0..TRIES {
            if let Ok(attached) = kept::connect(self.place.socket()).await {
                return Ok(attached);
            }
            let starting = timeout(START, self.place.starting()).await;
            let _starting = starting.map_err(|_| {
                Failure::new(
                    exit_code::SETUP_FAILED,
                    format!(
                        "waited {} s for another kiln that starts the VM of kernel {}",
                        START.as_secs(),
                        self.selected.name()
                    ),
                )
            })??;
            // Another kiln may have started it meanwhile.
            if let Ok(attached) = kept::connect(self.place.socket()).await {
                return Ok(attached);
            }
            for remark in self.start(words, streams.is_quiet()).await? {
                streams.remark(&escape::line(&remark));
            }
            if let Ok(attached) = kept::connect(self.place.socket()).await {
                return Ok(attached);
            }
        }
        Err(Failure::new(
            exit_code::VM_LOST,
            format!(
                "the VM of kernel {} ended {TRIES} times before the command could start",
                self.selected.name()
            ),
        ))
    }

    /// Starts the process that keeps the VM, and waits until the VM is up; returns its remarks.
    async fn start(&self, words: &[OsString], quiet: bool) -> Result<Vec<String>, Failure> {
        let failed = |error: io::Error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot start the process that keeps the VM: {error}"),
            )
        };
        let asked = Asked {
            socket: self.place.socket().to_owned(),
            kernel: self.selected.name().to_owned(),
            visible: self.visible.clone(),
        };
        let mut child = Command::new("/proc/self/exe")
            .args(words)
            .args(asked.words())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if quiet {
                Stdio::null()
            } else {
                Stdio::inherit()
            })
            .spawn()
            .map_err(failed)?;
        // Unless it gets up, it ends with us, and takes its VM down.
        let mut unwanted = Unwanted(child.id().and_then(|pid| i32::try_from(pid).ok()));
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            timeout(START, BufReader::new(stdout).read_line(&mut line))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(failed)?;
        }
        match serde_json::from_str(&line) {
            Ok(Booted::Ready { remarks }) => {
                unwanted.0 = None;
                Ok(remarks)
            }
            Ok(Booted::Failed {
                code,
                message,
                hints,
            }) => Err(Failure {
                code,
                message,
                hints,
            }),
            Err(_) => {
                let status = child.wait().await.map_err(failed)?;
                unwanted.0 = None;
                Err(failed(io::Error::other(format!(
                    "it ended early ({status})"
                ))))
            }
        }
    }
}

/// A keeper that is not up yet; ended when dropped.
struct Unwanted(Option<i32>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

fn lost(selected: &Selected, why: &str) -> Failure {
    Failure::new(
        exit_code::VM_LOST,
        format!("lost the VM of kernel {}: {why}", selected.name()),
    )
}

/// What tells VMs apart: this kiln, the kernel, all options, and what the guest sees besides its
/// root. The command, its variables and its directory may differ.
fn key(context: &Context, vm_args: &VmArgs, kernel: &KernelImage, visible: &[PathBuf]) -> String {
    let mut digest = Sha256::new();
    let mut add = |text: String| {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    };
    add(file(Path::new("/proc/self/exe")));
    add(format!("{kernel:?}"));
    add(file(&kernel.image));
    add(format!("{:?}", vm_args.of_vm()));
    add(format!("{:?}", vm_args.settings(context, &kernel.name)));
    add(format!("{:?}", context.catalogue.kernel_log));
    add(context.cache.root().to_string_lossy().into_owned());
    add(format!("{visible:?}"));
    let name: String = kernel.name.chars().map(plain).take(24).collect();
    let digest = digest.finalize();
    let digest = hex(&digest[..8]);
    format!("{name}-{digest}")
}

fn plain(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-') {
        letter
    } else {
        '-'
    }
}

/// A file's identity and age.
fn file(path: &Path) -> String {
    fs::metadata(path).map_or_else(
        |error| error.to_string(),
        |meta| {
            let age = (meta.mtime(), meta.mtime_nsec());
            format!("{:?}", (meta.dev(), meta.ino(), meta.len(), age))
        },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn reuse_takes_a_time_or_stop() {
        assert_eq!("stop".parse(), Ok(Reuse::Stop));
        assert_eq!("90s".parse(), Ok(Reuse::For(Duration::from_secs(90))));
        assert!("0".parse::<Reuse>().is_err());
        let error = "soon".parse::<Reuse>().unwrap_err();
        assert!(error.ends_with("; or `stop`"), "{error}");
    }
}
