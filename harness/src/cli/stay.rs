//! What happens to the VM of a command that failed: a shell opens in it, or it is kept for a while.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::input::{self, Interrupts, StdinSource, window_size};
use super::output;
use crate::exit_code;
use crate::run::command::Command;
use crate::vm::machine::Vm;

/// What to do with the VM of a command that failed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct StayArgs {
    /// Open a shell in the VM of a command that failed, as the command left it
    #[arg(long, conflicts_with = "jobs")]
    shell_on_fail: bool,
    /// Keep the VM of a command that failed for this time, or until kiln stop or Ctrl-C [default:
    /// 1h]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, conflicts_with = "jobs", default_missing_value = "1h", value_parser = crate::duration::parse)]
    keep_vm: Option<Duration>,
}

impl StayArgs {
    /// Refuses what cannot be done, before anything boots.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if self.shell_on_fail && !terminal {
            return Err(Failure::new(
                exit_code::USAGE,
                "--shell-on-fail needs a terminal as stdin and stdout",
            )
            .hint("without one, --keep-vm keeps the VM for kiln gdb, dump and logs"));
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

    /// Keeps the VM, if that is asked for; `why` says what happened.
    pub(super) async fn keep(&self, why: &str, vm: &mut Vm, interrupts: &mut Interrupts) {
        let Some(time) = self.keep_vm else {
            return;
        };
        output::note(&format!(
            "kiln: {why}; the VM stays for {} s: kiln ps, logs, gdb, dump and stop reach it",
            time.as_secs()
        ));
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
