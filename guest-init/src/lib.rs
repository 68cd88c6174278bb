//! What host and guest share: the boot plan that the host writes into the initramfs, and the
//! protocol of the control port.
//!
//! The host plans and judges; the guest obeys and reports. [`plan`] describes what the guest does
//! before hello, [`message`] the messages from then on, [`frame`] their encoding on the port,
//! [`console`] what goes to the console, and [`speed`] the work that measures how fast a VM is.

pub mod console;
pub mod frame;
pub mod message;
pub mod plan;
pub mod speed;
