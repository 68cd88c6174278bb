//! (under construction)

pub mod kernels;
