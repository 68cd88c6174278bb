//! Whose a job or a process is, by its number.

use guest_init::message::GuestEvent;

/// The numbers of jobs and processes of others are above this one; those of the owner are below.
pub const SIDE: u32 = 1 << 31;

/// Whether an event is about a job or a process of others.
pub(super) fn is_of_others(event: &GuestEvent) -> bool {
    match event {
        GuestEvent::JobClosed { job, .. } | GuestEvent::CommSeen { job, .. } => *job > SIDE,
        GuestEvent::Started { process, .. }
        | GuestEvent::SpawnFailed { process, .. }
        | GuestEvent::Output { process, .. }
        | GuestEvent::Closed { process, .. }
        | GuestEvent::StdinTaken { process, .. }
        | GuestEvent::Exited { process, .. } => *process > SIDE,
        _ => false,
    }
}
