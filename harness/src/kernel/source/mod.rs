//! Where kernels come from.

pub(super) mod apt;
pub(super) mod apt_index;
pub(super) mod mirror;
pub(super) mod nix;
pub(super) mod path;
pub(super) mod url;

#[cfg(test)]
mod tests;
