//! One VM: accelerator, QEMU arguments, QMP, console, control port.

pub mod control;
pub mod spec;
