//! What host and guest share: the boot plan that the host writes into the
//! initramfs, and the protocol they speak over the control port.
//!
//! The host plans and judges; the guest obeys and reports. [`plan`] is what
//! the guest does before it says hello, [`message`] what the two say to each
//! other from then on, [`frame`] how a message becomes bytes on the port, and
//! [`speed`] the work whose duration tells how fast a VM is.

pub mod frame;
pub mod message;
pub mod plan;
pub mod speed;
