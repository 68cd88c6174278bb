//! A VM on its way up: its shares serve, its QEMU runs, and its guest has not said hello yet.

use std::time::Duration;

use guest_init::message::Hello;
use tokio::time::Instant;

use super::{Error, Prepared, also};
use crate::guest::share::Share;
use crate::vm::control::{self, Control};
use crate::vm::guest_time::{GuestTime, Threads};
use crate::vm::machine::{Vm, take_down};
use crate::vm::process::QemuProcess;
use crate::vm::qmp::{Qmp, VmEvents};
use crate::vm::relief::Relief;
use crate::vm::snapshot::Memory;
use crate::vm::spec::VmSpec;
use crate::vm::{args, card, health};

/// How long QEMU may take to open its QMP socket.
const QMP_DEADLINE: Duration = Duration::from_secs(30);

/// QEMU's command line, in the VM's log directory.
const COMMAND_FILE: &str = "qemu.sh";

/// A VM on its way up. Dropping it kills it.
pub(super) struct Rising {
    spec: VmSpec,
    pub(super) qemu: QemuProcess,
    pub(super) qmp: Qmp,
    pub(super) events: VmEvents,
    shares: Vec<Share>,
    start: Instant,
}

impl Rising {
    /// Starts the shares, then QEMU, which waits for the state of a saved VM if there is the
    /// `console` of one.
    pub(super) async fn start(
        prepared: &Prepared,
        memory: Option<&Memory>,
        console: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let start = Instant::now();
        let spec = VmSpec {
            memory_file: memory.map(Memory::path),
            incoming: console.is_some(),
            ..prepared.spec.clone()
        };
        let mut shares = Vec::new();
        for config in &prepared.shares {
            shares.push(Share::start(config.clone()).await?);
        }
        // That of a boot: whoever runs it by hand has no memory and no state.
        note_command(&prepared.spec)?;
        let mut qemu = QemuProcess::start_after(&spec, console.unwrap_or_default()).await?;
        let (qmp, events) = qemu.connect_qmp(QMP_DEADLINE).await?;
        if let Err(error) = card::leave(&spec, qemu.pid()) {
            tracing::warn!("`kiln ps` will not show this VM: {error}");
        }
        Ok(Self {
            spec,
            qemu,
            qmp,
            events,
            shares,
            start,
        })
    }

    /// Connects to the control port.
    pub(super) async fn control(&self, deadline: Instant) -> Result<Control, String> {
        let socket = self.spec.control_socket.clone().unwrap_or_default();
        let connected = Control::connect(&socket, deadline).await;
        connected.map_err(|error| error.to_string())
    }

    /// Waits for something that the guest is to do; an error if the VM ends, or its console has
    /// what `gives_up` looks for.
    pub(super) async fn step<T>(
        &mut self,
        done: impl Future<Output = Result<T, control::Error>>,
        gives_up: fn(&str) -> bool,
    ) -> Result<T, String> {
        let held = self.spec.held();
        tokio::select! {
            done = done => done.map_err(|error| explain(&error)),
            ended = self.qemu.wait_or_until(gives_up) => Err(match ended {
                Ok(Some(status)) => format!("QEMU ended during boot ({status})"),
                Ok(None) => "the guest has no timer".to_owned(),
                Err(error) => error.to_string(),
            }),
            loss = health::ended(&mut self.events, &held) => Err(format!("{loss} during boot")),
        }
    }

    /// The VM, whose guest has said hello.
    pub(super) async fn up(mut self, mut control: Control, hello: Hello, restored: bool) -> Vm {
        match threads(&self.qemu, &self.qmp, &self.shares).await {
            Ok(threads) => control.time = GuestTime::metered(threads),
            Err(why) => tracing::warn!(
                "limits count as if the guest never waited: \
                 what its processors do is unknown: {why}"
            ),
        }
        let steps = &hello.timings;
        tracing::info!(
            "{} {} in {} ms; by the guest's clock init started at {} ms, \
             modules were loaded at {}, the root was entered at {}, all was ready at {}",
            self.spec.kernel.name,
            if restored { "was restored" } else { "came up" },
            self.start.elapsed().as_millis(),
            steps.init / 1000,
            steps.modules / 1000,
            steps.root / 1000,
            steps.ready / 1000
        );
        let relief = Relief::default();
        for words in self.shares.iter_mut().filter_map(Share::take_signals) {
            relief.listen(words, control.requests());
        }
        Vm {
            spec: self.spec,
            hello,
            control,
            relief,
            restored,
            qmp: self.qmp,
            events: self.events,
            qemu: self.qemu,
            shares: self.shares,
        }
    }

    /// Stops everything.
    pub(super) async fn take_down(self) {
        take_down(self.qemu, self.shares, Duration::ZERO).await;
    }
}

/// Writes QEMU's command line beside its logs.
fn note_command(spec: &VmSpec) -> Result<(), Error> {
    let path = spec.qemu_log.with_file_name(COMMAND_FILE);
    let asked = also(&spec.asked);
    let mut line = std::ffi::OsString::from(format!("# {}{asked}\n", spec.means));
    line.push(args::shell_line(&args::command(spec)));
    line.push("\n");
    std::fs::write(&path, line.as_encoded_bytes())
        .map_err(|source| Error::Directory { path, source })
}

/// The host's threads that a guest waits for.
async fn threads(qemu: &QemuProcess, qmp: &Qmp, shares: &[Share]) -> Result<Threads, String> {
    let vcpus = qmp.cpu_threads().await.map_err(|error| error.to_string())?;
    Threads::of(qemu.pid(), &vcpus, shares.iter().map(Share::pid))
        .map_err(|error| error.to_string())
}

/// If the port closes during boot, QEMU is ending.
fn explain(error: &control::Error) -> String {
    match error {
        control::Error::Closed { .. } => "the VM ended before the guest said hello".to_owned(),
        other => other.to_string(),
    }
}
