//! One line of `events.jsonl`.

use serde::{Deserialize, Serialize};

use super::Event;

/// An event and when it happened: one line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the run started, on a monotonic clock.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Record {
    /// Reads one line of `events.jsonl`.
    ///
    /// Goes through [`serde_json::Value`]: with `arbitrary_precision`, numbers
    /// inside flattened or tagged types cannot be read from text directly
    /// (serde_json issue 505).
    pub fn from_json(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::from_slice(line)?)
    }

    /// One line for `events.jsonl`, with its newline.
    pub fn to_json_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}
