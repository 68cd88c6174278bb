//! Suites of commands: any program whose results are its exit status, TAP or
//! KTAP or what Rust's and Go's test programs print on its output, or a JUnit or GoogleTest XML
//! file that it writes.
//!
//! A test is one start of the command; it reports cases, which are not known before.

#[cfg(test)]
mod corpus_tests;
mod discover;
mod go;
mod judge;
mod libtest;
mod results;
mod suite;
mod tail;
mod tap;
mod tap_level;
mod tap_line;
mod test;
mod xml;
mod xml_case;
mod xml_suite;

pub use go::read_go;
pub use judge::{End, Observation, judge};
pub use libtest::read_libtest;
pub use results::{Case, Results};
pub use suite::CommandSuite;
pub use tap::read_tap;
pub use tap_line::Dialect;
pub use test::CommandTest;
pub use xml::read_xml;
