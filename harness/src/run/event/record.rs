//! One line of `events.jsonl`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Event;

/// What tells which event a line is.
#[derive(Deserialize)]
struct Head<'l> {
    at_ms: u64,
    #[serde(borrow)]
    event: Cow<'l, str>,
}

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
    /// Reads the events of which a run has most directly. Others go through
    /// [`serde_json::Value`]: with `arbitrary_precision`, numbers
    /// inside flattened or tagged types cannot be read from text directly
    /// (serde_json issue 505).
    pub fn from_json(line: &[u8]) -> Result<Self, serde_json::Error> {
        if let Ok(Head { at_ms, event }) = serde_json::from_slice::<Head<'_>>(line) {
            let event = match event.as_ref() {
                "test_started" => Some(Event::TestStarted(serde_json::from_slice(line)?)),
                "attempt_finished" => Some(Event::AttemptFinished(serde_json::from_slice(line)?)),
                "test_finished" => Some(Event::TestFinished(serde_json::from_slice(line)?)),
                _ => None,
            };
            if let Some(event) = event {
                return Ok(Self { at_ms, event });
            }
        }
        serde_json::from_value(serde_json::from_slice(line)?)
    }

    /// One line for `events.jsonl`, with its newline.
    pub fn to_json_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}
