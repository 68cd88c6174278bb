//! What goes into a guest: initramfs, root, shares.

pub mod init;
pub mod initramfs;
pub mod layout;
pub mod nodes;
mod provide;
pub mod root;
pub mod share;
mod skeleton;
mod unreadable;
