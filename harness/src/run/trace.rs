//! Records a trace of the kernel's events while a test or a command runs. The guest records and writes
//! it, into a directory beside the logs of its VM.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use guest_init::message::{GuestEvent, Request, TraceReply, TraceRequest};
use tokio::time::Instant;

use super::command::GUEST_REPLY;
use crate::config::nearest_first;
use crate::hint::Hint;
use crate::vm::control::{self, Control};
use crate::vm::machine::Vm;
use crate::vm::trace::TRACES;

/// Size of the buffer of all CPUs together.
const BUFFER_KIB: u64 = 4096;
/// How long the guest may take to write it, under emulation on a busy host.
const WRITTEN: Duration = Duration::from_secs(180);
/// Near names to show.
const NEAR: usize = 5;

/// Why a guest does not record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no such events.
    #[error("kernel {kernel} has no event {}", events.join(", "))]
    Unknown {
        /// Its name.
        kernel: String,
        /// These.
        events: Vec<String>,
        /// Some that have such names.
        near: Vec<String>,
    },
    /// The kernel has no ftrace.
    #[error("kernel {kernel} cannot trace events: {why}")]
    Unavailable {
        /// Its name.
        kernel: String,
        /// What the guest says.
        why: String,
    },
    /// Something else went wrong in the guest.
    #[error("cannot trace kernel {kernel}: {why}")]
    Failed {
        /// Its name.
        kernel: String,
        /// What the guest says.
        why: String,
    },
    /// The VM is lost.
    #[error(transparent)]
    Vm(#[from] control::Error),
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { near, .. } if near.is_empty() => Vec::new(),
            Self::Unknown { near, kernel, .. } => vec![
                format!("it has events like {}", near.join(", ")),
                format!(
                    "kiln exec -k {kernel} -- cat /sys/kernel/tracing/available_events lists all; \
                     those of a module are there once it is loaded"
                ),
            ],
            Self::Unavailable { .. } => {
                vec!["its configuration needs CONFIG_FTRACE and an event tracer".to_owned()]
            }
            Self::Failed { .. } | Self::Vm(_) => Vec::new(),
        }
    }
}

/// Records in one VM.
#[derive(Debug)]
pub struct Tracer {
    kernel: String,
    /// Where the traces go, on the host as in the guest.
    dir: PathBuf,
}

/// A trace that is written.
#[derive(Debug)]
pub struct Recorded {
    /// Its files without `.dat` and `.txt`.
    path: PathBuf,
    events: u64,
    lost: u64,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.events == 1 { "" } else { "s" };
        let path = self.path.display();
        write!(f, "trace of {} event{s}: {path}.dat and .txt", self.events)?;
        if self.lost > 0 {
            write!(f, "; {} older ones had no room", self.lost)?;
        }
        Ok(())
    }
}

impl Tracer {
    /// Prepares the guest, if its VM is to have a trace.
    pub async fn prepare(vm: &mut Vm) -> Result<Option<Self>, Error> {
        let Some(trace) = &vm.spec.extras.trace else {
            return Ok(None);
        };
        let tracer = Self {
            kernel: vm.spec.kernel.name.clone(),
            dir: vm.spec.console_log.with_file_name(TRACES),
        };
        let request = TraceRequest::Prepare {
            events: trace.events.iter().map(ToString::to_string).collect(),
            buffer_kib: BUFFER_KIB,
        };
        tracer.done(&mut vm.control, request).await?;
        Ok(Some(tracer))
    }

    /// Starts to record.
    pub async fn start(&self, control: &mut Control) -> Result<(), Error> {
        self.done(control, TraceRequest::Start).await
    }

    /// Stops, and keeps what was recorded under this name.
    pub async fn stop(&self, control: &mut Control, name: &str) -> Result<Recorded, Error> {
        let path = self.dir.join(name);
        let request = TraceRequest::Stop {
            path: path.to_string_lossy().into_owned(),
        };
        match ask(control, request, WRITTEN, "the trace").await? {
            TraceReply::Written { events, lost } => Ok(Recorded { path, events, lost }),
            other => Err(self.refused(other)),
        }
    }

    async fn done(&self, control: &mut Control, request: TraceRequest) -> Result<(), Error> {
        match ask(control, request, GUEST_REPLY, "the start of a trace").await? {
            TraceReply::Done => Ok(()),
            other => Err(self.refused(other)),
        }
    }

    fn refused(&self, reply: TraceReply) -> Error {
        let kernel = self.kernel.clone();
        match reply {
            TraceReply::Unknown { events, known } => Error::Unknown {
                near: near(&events, &known),
                kernel,
                events,
            },
            TraceReply::Unavailable(why) => Error::Unavailable { kernel, why },
            TraceReply::Failed(why) => Error::Failed { kernel, why },
            TraceReply::Done | TraceReply::Written { .. } => Error::Failed {
                kernel,
                why: "the guest answered out of turn".to_owned(),
            },
        }
    }
}

async fn ask(
    control: &mut Control,
    request: TraceRequest,
    patience: Duration,
    what: &str,
) -> Result<TraceReply, control::Error> {
    control.send(&Request::Trace(request)).await?;
    let deadline = Instant::now() + patience;
    loop {
        // Ignore what processes that still run print.
        if let GuestEvent::Trace(reply) = control.event(deadline, what).await? {
            return Ok(reply);
        }
    }
}

/// The known events whose names are most like those that are unknown. Without a system, the name
/// alone counts.
fn near(unknown: &[String], known: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for wanted in unknown {
        let with_system = wanted.contains(':');
        let part = |event: &str| match event.split_once(':') {
            Some((_, name)) if !with_system => name.to_owned(),
            _ => event.to_owned(),
        };
        let names: Vec<String> = known.iter().map(|event| part(event)).collect();
        let nearest = nearest_first(wanted, names.iter().map(String::as_str));
        for name in nearest.into_iter().take(NEAR) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_events_are_named_as_they_were_asked_for() {
        let known = [
            "sched:sched_switch",
            "sched:sched_wakeup",
            "timer:timer_start",
        ];
        let known = known.map(str::to_owned);
        let asked = |event: &str| near(&[event.to_owned()], &known);
        assert_eq!(
            asked("sched_swich").first().map(String::as_str),
            Some("sched_switch")
        );
        let with_system = asked("timer:timer_strat");
        assert_eq!(
            with_system.first().map(String::as_str),
            Some("timer:timer_start")
        );
    }

    #[test]
    fn a_trace_says_what_it_lacks() {
        let mut recorded = Recorded {
            path: PathBuf::from("/logs/traces/a"),
            events: 1,
            lost: 0,
        };
        assert_eq!(
            recorded.to_string(),
            "trace of 1 event: /logs/traces/a.dat and .txt"
        );
        (recorded.events, recorded.lost) = (5, 7);
        let said = "trace of 5 events: /logs/traces/a.dat and .txt; 7 older ones had no room";
        assert_eq!(recorded.to_string(), said);
    }
}
