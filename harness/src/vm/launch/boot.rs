//! Boots a prepared VM: its shares, QEMU, and the guest up to its hello.

use std::time::Duration;

use tokio::time::Instant;

use super::{Error, Prepared, also};
use crate::guest::share::Share;
use crate::vm::arch::platform;
use crate::vm::control::{self, Control};
use crate::vm::guest_time::{GuestTime, Threads};
use crate::vm::machine::{Evidence, Vm, take_down};
use crate::vm::process::QemuProcess;
use crate::vm::qmp::Qmp;
use crate::vm::relief::Relief;
use crate::vm::{args, card, health};

/// How long QEMU may take to open its QMP socket.
const QMP_DEADLINE: Duration = Duration::from_secs(30);

/// How long a guest may take to set its clock, on a busy host.
const CLOCK_DEADLINE: Duration = Duration::from_secs(20);

/// QEMU's command line, in the VM's log directory.
const COMMAND_FILE: &str = "qemu.sh";

/// How often to boot a guest that finds no timer. Seen once in some 150 boots on two
/// cores with a load of 8.
const BOOTS: u32 = 4;

impl Prepared {
    /// Starts the shares, then QEMU, and waits for the guest's hello. Boots
    /// again if the guest found no timer.
    pub async fn start(self) -> Result<Vm, Error> {
        let mut left = BOOTS;
        loop {
            left = left.saturating_sub(1);
            let gives_up = if left > 0 {
                platform(self.spec.kernel.arch).has_no_timer
            } else {
                |_: &str| false
            };
            if let Some(vm) = self.boot(gives_up).await? {
                return Ok(on_time(vm).await);
            }
            tracing::info!("the guest found no timer on a busy host; booting it again");
        }
    }

    /// Writes QEMU's command line beside its logs.
    fn note_command(&self) -> Result<(), Error> {
        let path = self.spec.qemu_log.with_file_name(COMMAND_FILE);
        let asked = also(&self.spec.asked);
        let mut line = std::ffi::OsString::from(format!("# {}{asked}\n", self.spec.means));
        line.push(args::shell_line(&args::command(&self.spec)));
        line.push("\n");
        std::fs::write(&path, line.as_encoded_bytes())
            .map_err(|source| Error::Directory { path, source })
    }

    /// Boots once. `None` if the guest's console has what `gives_up` looks for: a guest without a
    /// timer may stand still before its hello.
    async fn boot(&self, gives_up: fn(&str) -> bool) -> Result<Option<Vm>, Error> {
        let start = Instant::now();
        let deadline = start + self.boot_timeout;
        let mut shares = Vec::new();
        for config in &self.shares {
            shares.push(Share::start(config.clone()).await?);
        }
        self.note_command()?;
        let mut qemu = QemuProcess::start(&self.spec).await?;
        let (qmp, mut events) = qemu.connect_qmp(QMP_DEADLINE).await?;
        if let Err(error) = card::leave(&self.spec, qemu.pid()) {
            tracing::warn!("`kiln ps` will not show this VM: {error}");
        }
        let held = self.spec.held();
        let socket = self.spec.control_socket.clone().unwrap_or_default();
        let connected = Control::connect(&socket, deadline).await;
        let hello = match connected {
            Ok(mut control) => tokio::select! {
                hello = control.hello(deadline) => hello.map(|hello| (control, hello)).map_err(|error| explain(&error)),
                ended = qemu.wait_or_until(gives_up) => Err(match ended {
                    Ok(Some(status)) => format!("QEMU ended during boot ({status})"),
                    Ok(None) => "the guest has no timer".to_owned(),
                    Err(error) => error.to_string(),
                }),
                loss = health::ended(&mut events, &held) => Err(format!("{loss} during boot")),
            },
            Err(error) => Err(error.to_string()),
        };
        if gives_up(&qemu.console().text_since(0)) {
            take_down(qemu, shares, Duration::ZERO).await;
            return Ok(None);
        }
        match hello {
            Ok((mut control, hello)) => {
                match threads(&qemu, &qmp, &shares).await {
                    Ok(threads) => control.time = GuestTime::metered(threads),
                    Err(why) => tracing::warn!(
                        "limits count as if the guest never waited: \
                         what its processors do is unknown: {why}"
                    ),
                }
                let steps = &hello.timings;
                tracing::info!(
                    "{} came up in {} ms; by the guest's clock init started at {} ms, \
                     modules were loaded at {}, the root was entered at {}, all was ready at {}",
                    self.spec.kernel.name,
                    start.elapsed().as_millis(),
                    steps.init / 1000,
                    steps.modules / 1000,
                    steps.root / 1000,
                    steps.ready / 1000
                );
                let relief = Relief::default();
                for words in shares.iter_mut().filter_map(Share::take_signals) {
                    relief.listen(words, control.requests());
                }
                Ok(Some(Vm {
                    spec: self.spec.clone(),
                    hello,
                    control,
                    relief,
                    qmp,
                    events,
                    qemu,
                    shares,
                }))
            }
            Err(why) => {
                let evidence = Evidence::gather(&mut qemu, &qmp, &mut events).await;
                Err(Error::Boot {
                    kernel: self.spec.kernel.name.clone(),
                    arch: self.spec.kernel.arch,
                    cpus: self.spec.cpus,
                    why: evidence.cause().unwrap_or(why),
                    evidence: Box::new(evidence),
                })
            }
        }
    }
}

/// The host's threads that a guest waits for.
async fn threads(qemu: &QemuProcess, qmp: &Qmp, shares: &[Share]) -> Result<Threads, String> {
    let vcpus = qmp.cpu_threads().await.map_err(|error| error.to_string())?;
    Threads::of(qemu.pid(), &vcpus, shares.iter().map(Share::pid))
        .map_err(|error| error.to_string())
}

/// Waits until the guest's clock is set. A guest that does not answer is lost, which its user will
/// notice.
async fn on_time(vm: Vm) -> Vm {
    if !vm.control.clock_is_set(CLOCK_DEADLINE).await {
        tracing::warn!(
            "the clock of the guest of kernel {} is not set",
            vm.spec.kernel.name
        );
    }
    vm
}

/// If the port closes during boot, QEMU is ending.
fn explain(error: &control::Error) -> String {
    match error {
        control::Error::Closed { .. } => "the VM ended before the guest said hello".to_owned(),
        other => other.to_string(),
    }
}
