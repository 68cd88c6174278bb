//! `kiln ps`, `logs` and `stop`: the VMs that run now, from another terminal.

use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::input::{self, Interrupts};
use super::text_or_json::TextOrJson;
use super::{Failure, output};
use crate::exit_code;
use crate::report::escape;
use crate::vm::card::{self, ADMIN_SOCKET, Card, Running};
use crate::vm::qmp::Qmp;

/// How long QEMU may take to answer somebody new.
const CONNECT: Duration = Duration::from_secs(10);
/// How often to look for more of a console.
const LOOK: Duration = Duration::from_millis(200);
/// How long a VM may take to end.
const END: Duration = Duration::from_secs(30);

/// List the running VMs of this user.
#[derive(Debug, Args)]
#[command(
    after_help = "An id, or the name of a kernel that only one VM has, names a VM for kiln logs, stop, shell --attach,\ndump, gdb and drgn."
)]
pub(super) struct PsArgs {
    /// How to print them
    #[arg(long, value_enum, default_value = "text")]
    format: TextOrJson,
}

impl PsArgs {
    /// Lists them.
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let running = card::running();
        if self.format == TextOrJson::Json {
            let all: Vec<serde_json::Value> = running.iter().map(as_json).collect();
            output::line(&serde_json::Value::from(all).to_string())?;
            return Ok(exit_code::OK);
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["VM", "KERNEL", "RELEASE", "UP", "QEMU", "KILN", "GDB"]);
        for vm in &running {
            table.add_row([
                vm.id.clone(),
                escape::line(&vm.card.kernel).into_owned(),
                escape::line(&vm.card.release).into_owned(),
                format!("{} s", age(&vm.card)),
                vm.card.qemu.to_string(),
                vm.card.kiln.to_string(),
                vm.card.gdb.clone().unwrap_or_default(),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        output::line(&table.trim_fmt())?;
        Ok(exit_code::OK)
    }
}

fn as_json(vm: &Running) -> serde_json::Value {
    let mut json = serde_json::to_value(&vm.card).unwrap_or_default();
    json["id"] = vm.id.clone().into();
    json["dir"] = vm.dir.to_string_lossy().into();
    json
}

fn age(card: &Card) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
        .as_secs()
        .saturating_sub(card.started)
}

/// The one running VM of this name.
pub(super) fn find(name: &str) -> Result<Running, Failure> {
    let running = card::running();
    let known: Vec<String> = running.iter().map(described).collect();
    let mut found = card::named(running, name);
    match (found.pop(), found.is_empty()) {
        (Some(vm), true) => Ok(vm),
        (Some(vm), false) => {
            found.push(vm);
            let all: Vec<String> = found.iter().map(described).collect();
            Err(Failure::new(
                exit_code::USAGE,
                format!("{} VMs run kernel {name}: {}", all.len(), all.join(", ")),
            )
            .hint("name one by its id"))
        }
        (None, _) => {
            let failure = Failure::new(
                exit_code::SETUP_FAILED,
                format!("there is no running VM {name}: it has ended, or is another user's"),
            );
            Err(if known.is_empty() {
                failure.hint("no VM of yours runs; `kiln ps` lists them")
            } else {
                failure.hint(format!("these run: {}", known.join(", ")))
            })
        }
    }
}

fn described(vm: &Running) -> String {
    format!("{} ({})", vm.id, vm.card.kernel)
}

/// Print the console of a running VM.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
    /// Go on until the VM ends
    #[arg(short, long)]
    follow: bool,
}

impl LogsArgs {
    /// Prints it.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        let mut interrupts = Interrupts::listen()?;
        let failed = |error: std::io::Error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot read {}: {error}", vm.card.console.display()),
            )
        };
        let mut log = std::fs::File::open(&vm.card.console).map_err(failed)?;
        loop {
            // Before reading: what it writes last is read, too.
            let runs = self.follow && vm.dir.join(ADMIN_SOCKET).exists() && is_up(vm.card.qemu);
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes).map_err(failed)?;
            let text = String::from_utf8_lossy(&bytes).replace('\r', "");
            output::print("the console", &escape::block(&text))?;
            if !runs {
                return Ok(exit_code::OK);
            }
            tokio::select! {
                signal = interrupts.next() => return Ok(input::code_of(signal)),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// Whether a process is there.
fn is_up(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok()
}

/// Stop a running VM.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The VM: an id of kiln ps, or the name of its kernel
    vm: String,
}

impl StopArgs {
    /// Stops it, and waits for its end.
    pub(super) async fn run(&self) -> Result<u8, Failure> {
        let vm = find(&self.vm)?;
        admin(&vm).await?.quit().await?;
        let ended = async {
            while is_up(vm.card.qemu) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(END, ended).await.map_err(|_| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("the VM did not end within {} s", END.as_secs()),
            )
            .hint(format!("end its QEMU: kill -9 {}", vm.card.qemu))
        })?;
        Ok(exit_code::OK)
    }
}

/// Connects to QEMU, beside the kiln that runs the VM.
pub(super) async fn admin(vm: &Running) -> Result<Qmp, Failure> {
    let (qmp, _) = Qmp::connect(&vm.dir.join(ADMIN_SOCKET), CONNECT)
        .await
        .map_err(|error| {
            Failure::from(error)
                .hint("another `kiln dump` or `kiln gdb` may be at work with this VM")
        })?;
    Ok(qmp)
}
