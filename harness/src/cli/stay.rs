//! What happens to the VM of a command or test that failed: its memory is written down, a shell opens
//! in it, it is kept for a while.

use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::input::{self, Interrupts, StdinSource, window_size};
use super::streams::Streams;
use super::{Failure, output};
use crate::exit_code;
use crate::run::command::Command;
use crate::run::stay::{Stay, Visit, stays};
use crate::vm::dump;
use crate::vm::machine::{VMCORE, Vm};

/// What to do with the VM of a command or test that failed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "After a failure")]
pub(super) struct StayArgs {
    /// Open a shell in the VM of a command or test that failed, before anything is tidied up
    #[arg(long)]
    shell_on_fail: bool,
    /// Write the memory of a guest in which a command or test failed into the VM's log directory,
    /// for crash and drgn
    #[arg(long)]
    dump_on_fail: bool,
    /// Keep the VM of a command or test that failed for this time, or until kiln stop or Ctrl-C
    /// [default: 1h]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1h", value_parser = crate::duration::parse)]
    keep_vm: Option<Duration>,
}

impl StayArgs {
    /// Refuses what cannot be done, before anything boots.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let terminal = input::on_terminal();
        if self.shell_on_fail && !terminal {
            return Err(Failure::new(
                exit_code::USAGE,
                "--shell-on-fail needs a terminal as stdin and stdout",
            )
            .hint(
                "without one, --keep-vm keeps the VM for kiln shell --attach, gdb, dump and logs",
            ));
        }
        Ok(())
    }

    /// The shell to open, if one is asked for.
    pub(super) fn shell(&self, command: &Command) -> Option<Command> {
        self.shell_on_fail.then(|| {
            output::note("kiln: the command failed; a shell in its VM, leave it to go on");
            Command {
                argv: vec![b"/bin/sh".to_vec(), b"-i".to_vec()],
                terminal: Some(window_size()),
                timeout: None,
                edited: true,
                ..command.clone()
            }
        })
    }

    /// Writes the memory of the VM's guest, if that is asked for.
    pub(super) async fn dump(&self, vm: &Vm, streams: &Streams) {
        if self.dump_on_fail {
            let path = vm.spec.console_log.with_file_name(VMCORE);
            let written = dump::beside(vm.spec.dir(), &path).await;
            streams.note(&format!("kiln: {written}"));
        }
    }

    /// The same for the tests of a run, and the VMs that then wait for [`visit`].
    pub(super) fn of_run(&self) -> (Stay, UnboundedReceiver<Visit>) {
        let (sender, visits) = unbounded_channel();
        let stay = Stay {
            keep: self.keep_vm,
            dump: self.dump_on_fail,
            visits: self.shell_on_fail.then_some(sender),
        };
        (stay, visits)
    }

    /// Keeps the VM, if that is asked for; `why` says what happened.
    pub(super) async fn keep(&self, why: &str, vm: &mut Vm, interrupts: &mut Interrupts) {
        let Some(time) = self.keep_vm else {
            return;
        };
        output::note(&format!("kiln: {why}; the VM {}", stays(time)));
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = vm.ended() => {}
            _ = interrupts.next() => {}
        }
    }
}

/// Our terminal, for the shell.
pub(super) fn terminal() -> Result<input::StdinFd, Failure> {
    StdinSource::new(false)?.open()
}
