//! bpftrace scripts: what each finds on a kernel, as far as that can be read without being bpftrace.
//! What is not understood is no finding.

mod body;
mod check;
mod exercise;
mod path;
mod preprocess;
mod probe;
mod read;
mod targets;
mod token;
mod uses;
mod walk;

pub use check::check;
pub use exercise::exercise;
pub use read::Script;
pub use uses::uses;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
