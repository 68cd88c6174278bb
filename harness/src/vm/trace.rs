//! Events of the kernel that a VM's guest records: which they are.

use std::fmt;
use std::str::FromStr;

/// The directory of traces, beside the logs of a VM.
pub const TRACES: &str = "traces";
/// The name of the boot's trace there.
pub const BOOT: &str = "boot";

/// What is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The events.
    pub events: Vec<TraceEvent>,
    /// Whether the kernel records them while it boots, too.
    pub boot: bool,
}

impl Trace {
    /// What the kernel's command line says of it (kernel doc, admin-guide/kernel-parameters).
    pub fn kernel_args(&self) -> Vec<String> {
        if !self.boot {
            return Vec::new();
        }
        let events: Vec<String> = self.events.iter().map(ToString::to_string).collect();
        vec![
            format!("trace_event={}", events.join(",")),
            "trace_buf_size=4M".to_owned(),
        ]
    }
}

/// An event, or several, as ftrace's `set_event` takes them: `sched:sched_switch`, `sched_switch`,
/// `sched:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent(String);

impl FromStr for TraceEvent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |part: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            part == "*" || (!part.is_empty() && part.chars().all(letter))
        };
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() <= 2 && parts.iter().all(|part| is_name(part)) && text != "*" {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text}: an event is named like sched:sched_switch, sched_switch or sched:*"
        ))
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_event_has_a_system_and_a_name() {
        for good in [
            "sched:sched_switch",
            "sched_switch",
            "sched:*",
            "*:*",
            "a-b",
        ] {
            assert_eq!(good.parse::<TraceEvent>().unwrap().to_string(), good);
        }
        for bad in [
            "", ":", "sched:", "a:b:c", "a b", "*", "!a", "sched_*", "a\n",
        ] {
            assert!(bad.parse::<TraceEvent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_kernel_records_its_boot_only_if_asked() {
        let mut trace = Trace {
            events: vec![
                "initcall:*".parse().unwrap(),
                "sched_switch".parse().unwrap(),
            ],
            boot: false,
        };
        assert!(trace.kernel_args().is_empty());
        trace.boot = true;
        let expected = ["trace_event=initcall:*,sched_switch", "trace_buf_size=4M"];
        assert_eq!(trace.kernel_args(), expected);
    }
}
