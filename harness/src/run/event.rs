//! What happens in a run, one fact at a time.
//!
//! A run is its sequence of [`Record`]s: they go to `events.jsonl` as they
//! happen, and every report is a fold over them. Texts that come from a guest
//! are kept as they are here; whoever shows them escapes them.

use serde::{Deserialize, Serialize};

/// Most bytes of one guest text (output, details, console) an event carries.
pub const MAX_TEXT: usize = 64 * 1024;

pub use crate::suite::Verdict;
use crate::suite::bpftrace::decode;

/// Every verdict, in the order reports show them.
pub const VERDICTS: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::Fail,
    Verdict::Timeout,
    Verdict::Skip,
    Verdict::Lost,
    Verdict::Error,
];

/// One fact about a run.
///
/// In JSON the field `event` names the fact, in snake case, beside its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan stands; nothing has booted yet.
    RunStarted {
        /// Version of kiln.
        version: String,
        /// When, as RFC 3339 in UTC; offsets of records count from here.
        started_at: String,
        /// The kernels, by their names in `kernels.toml`, in report order.
        kernels: Vec<String>,
        /// The suites.
        suites: Vec<String>,
        /// How many tests each kernel is to run.
        tests: usize,
    },
    /// A VM is up: its guest said hello.
    VmStarted {
        /// Name of its kernel.
        kernel: String,
        /// The release the guest reports, as `uname -r`.
        release: String,
        /// `kvm` or `tcg`.
        accelerator: String,
        /// Version of QEMU.
        qemu: String,
        /// From starting QEMU to hello, in milliseconds.
        boot_ms: u64,
        /// Counts the VMs of the run, from 0.
        vm: u32,
    },
    /// How much slower than the reference a VM is.
    SpeedMeasured {
        /// Name of its kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// Time limits are multiplied by this.
        factor: f64,
    },
    /// A test begins.
    TestStarted {
        /// Name of the kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// `suite.name`.
        id: String,
    },
    /// A test has its verdict.
    TestFinished {
        /// Name of the kernel.
        kernel: String,
        /// `suite.name`.
        id: String,
        /// The verdict.
        verdict: Verdict,
        /// Why, in one line; `None` where a pass needs no reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Wall time on the host, in milliseconds.
        duration_ms: u64,
        /// What the test printed, bounded by [`bounded_text`]; untrusted.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        output: String,
        /// For a reader: command, expectations against findings; untrusted.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        details: String,
    },
    /// A VM died or missed a deadline.
    VmLost {
        /// Name of its kernel.
        kernel: String,
        /// The VM.
        vm: u32,
        /// What happened, in one line.
        reason: String,
        /// The test that ran then, `suite.name`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        test: Option<String>,
        /// The last lines of the console, bounded by [`bounded_text`]; untrusted.
        console: String,
        /// QMP's run state, or why there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        qmp_status: Option<String>,
    },
    /// Something the user should know, and the run goes on.
    Warning {
        /// Name of the kernel it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kernel: Option<String>,
        /// What, in one line.
        message: String,
    },
    /// The run is over.
    RunFinished {
        /// kiln's exit code, of [`crate::exit_code`].
        exit_code: u8,
        /// Wall time of the run, in milliseconds.
        duration_ms: u64,
    },
}

/// An event and when it happened: one line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the run started, by a clock that only goes forward.
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

/// Guest bytes as text of at most about [`MAX_TEXT`] bytes.
///
/// Bytes that are not UTF-8 become `\xNN`. Of a long text the beginning and the
/// end stay, for errors stand at either; a line between says what is missing.
pub fn bounded_text(bytes: &[u8]) -> String {
    if bytes.len() <= MAX_TEXT {
        return decode(bytes);
    }
    let half = MAX_TEXT / 2;
    let (head, rest) = bytes.split_at(half);
    let (middle, tail) = rest.split_at(rest.len() - half);
    format!(
        "{}\n[{} bytes left out]\n{}",
        decode(head),
        middle.len(),
        decode(tail)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_one_flat_json_object() {
        let record = Record {
            at_ms: 1500,
            event: Event::TestFinished {
                kernel: "6.1".into(),
                id: "builtin.cpu".into(),
                verdict: Verdict::Pass,
                reason: None,
                duration_ms: 3100,
                output: String::new(),
                details: String::new(),
            },
        };
        let line = String::from_utf8(record.to_json_line().unwrap()).unwrap();
        assert_eq!(
            line,
            "{\"at_ms\":1500,\"event\":\"test_finished\",\"kernel\":\"6.1\",\
             \"id\":\"builtin.cpu\",\"verdict\":\"pass\",\"duration_ms\":3100}\n"
        );
    }

    #[test]
    fn an_unknown_event_is_refused() {
        assert!(Record::from_json(b"{\"at_ms\":0,\"event\":\"nonsense\"}").is_err());
    }

    #[test]
    fn bytes_that_are_no_text_stay_visible() {
        assert_eq!(bounded_text(b"a\xffb\xc3\xa4"), "a\\xffb\u{e4}");
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let mut bytes = b"begin".to_vec();
        bytes.resize(10 * 1024 * 1024, b'x');
        bytes.extend(b"end");
        let text = bounded_text(&bytes);
        assert!(text.len() < MAX_TEXT + 100);
        assert!(text.starts_with("begin") && text.ends_with("end"));
        assert!(text.contains("bytes left out"));
    }

    proptest! {
        #[test]
        fn any_record_comes_back_from_its_line(
            at_ms: u64, duration_ms: u64, vm: u32, factor in 0.01f64..1e6, id: String, output: String,
        ) {
            for event in [
                Event::TestFinished {
                    kernel: "6.1".into(), id: id.clone(), verdict: Verdict::Fail,
                    reason: Some(id.clone()), duration_ms, output: output.clone(), details: id.clone(),
                },
                Event::SpeedMeasured { kernel: "6.1".into(), vm, factor },
                Event::VmLost {
                    kernel: id.clone(), vm, reason: id.clone(), test: Some(id.clone()),
                    console: output.clone(), qmp_status: None,
                },
            ] {
                let record = Record { at_ms, event };
                let line = record.to_json_line().unwrap();
                prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
                prop_assert_eq!(Record::from_json(&line).unwrap(), record);
            }
        }
    }
}
