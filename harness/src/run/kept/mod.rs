//! A VM that stays up for many commands: one process keeps it, others connect to its socket.
//!
//! ```text
//! kiln exec --reuse ──┐
//! kiln exec --reuse ──┼── SOCKET ── keeper ── control port ── guest-init
//! kiln exec --reuse ──┘
//! ```
//!
//! Each client speaks to the guest as if it were alone: it sends [`Request`]s with numbers of its
//! own, and [`Switchboard`] gives them numbers that no other client has. What comes back is in
//! [`News`], which also has what only the keeper knows: reports of the kernel, and why the VM was
//! lost.
//!
//! [`Door`] lets such clients into a VM that a kiln runs for itself.
//!
//! [`Request`]: guest_init::message::Request

mod client;
mod desk;
mod door;
mod keeper;
mod place;
mod switchboard;
mod wire;

pub use client::{Attached, connect, stop};
pub use door::{Door, link};
pub use keeper::keep;
pub use place::{Place, listen, remove};
pub use wire::Over;
