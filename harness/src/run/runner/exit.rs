//! How a process in a guest ended, in the form for suites.

use guest_init::message::Status;

use crate::run::session::Session;
use crate::suite::Exit;
use crate::vm::cpu::{self, Ended};

/// The guest's report, in the form for suites.
pub(super) fn exit(status: Status) -> Exit {
    match status {
        Status::Exited(code) => Exit::Code(code),
        Status::Signaled(signal) => Exit::Signal(signal),
    }
}

/// The note for a test whose program lacked an instruction.
pub(super) fn note(vm: &Session, exit: Exit) -> Option<String> {
    let ended = match exit {
        Exit::Code(status) => Ended::Status(status),
        Exit::Signal(signal) => Ended::Signal(signal),
    };
    let spec = &vm.vm.spec;
    cpu::illegal_instruction(
        ended,
        spec.kernel.arch,
        spec.accelerator,
        spec.cpu.as_deref(),
    )
}
