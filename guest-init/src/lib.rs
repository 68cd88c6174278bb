//! What host and guest share: the boot plan that the host writes into the
//! initramfs, and the protocol they speak over the control port.

pub mod plan;
