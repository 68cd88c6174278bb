//! One VM: accelerator, QEMU arguments, QMP, console, control port.

pub mod accel;
pub mod accelerator;
pub mod arch;
pub mod args;
pub mod card;
mod clock;
pub mod console;
pub mod control;
pub mod cpu;
pub mod dump;
pub mod exec_limit;
pub mod extras;
pub mod guest_time;
pub mod health;
pub mod hold;
pub mod kernel_log;
pub mod launch;
pub mod machine;
pub mod means;
pub mod process;
pub mod qemu;
pub mod qmp;
pub mod relay;
pub mod relief;
pub mod snapshot;
pub mod spec;
pub mod trace;
