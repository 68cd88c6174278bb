//! Finds the kernel on which something changes: which one to try next, what the answers say, what
//! is kept of them. It boots nothing.

mod chance;
mod journal;
mod order;
mod search;
mod state;

pub use journal::{Answer, Asked, Candidate, JOURNAL, Journal, LookFor, Verdict, read};
pub use order::{Version, compare};
pub use state::{Ends, Found, State};
