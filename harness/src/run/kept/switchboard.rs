//! Many clients on one control port: whose job and whose process a message is about.

use std::collections::BTreeMap;

use guest_init::message::{GuestEvent, JobId, ProcessId, Request};

/// A client of the keeper.
pub(super) type ClientId = u64;

/// Why a request cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The client has no such job.
    #[error("no job {0}")]
    NoJob(JobId),
    /// It already has one of this number.
    #[error("job {0} is open")]
    JobOpen(JobId),
    /// It has used this number before.
    #[error("process {0} has been started")]
    ProcessUsed(ProcessId),
    /// It would affect other clients.
    #[error("this request is not for clients")]
    NotForClients,
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Send this to the guest.
    Send(Request),
    /// Nothing: it is about something that is over.
    Nothing,
    /// End the VM.
    End,
}

/// Whose numbers a job or a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seat {
    client: ClientId,
    /// The client's number for it.
    number: u32,
}

/// The clients' jobs and processes, by the guest's numbers.
#[derive(Debug, Default)]
pub(super) struct Switchboard {
    jobs: BTreeMap<JobId, Seat>,
    processes: BTreeMap<ProcessId, (Seat, JobId)>,
    last: u32,
}

impl Switchboard {
    /// The same, but the numbers in the guest begin after this one.
    pub(super) fn after(last: u32) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// Whether no job is open.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Translates a client's request.
    pub(super) fn request(&mut self, client: ClientId, request: Request) -> Result<Order, Refusal> {
        Ok(Order::Send(match request {
            Request::OpenJob { job } => {
                if self.job(client, job).is_ok() {
                    return Err(Refusal::JobOpen(job));
                }
                let number = job;
                let job = self.next();
                self.jobs.insert(job, Seat { client, number });
                Request::OpenJob { job }
            }
            Request::Spawn { job, process, spec } => {
                let job = self.job(client, job)?;
                if self.process(client, process).is_some() {
                    return Err(Refusal::ProcessUsed(process));
                }
                let number = process;
                let process = self.next();
                self.processes
                    .insert(process, (Seat { client, number }, job));
                Request::Spawn { job, process, spec }
            }
            Request::CloseJob { job } => {
                let job = self.job(client, job)?;
                Request::CloseJob { job }
            }
            Request::Stdin { process, data } => match self.process(client, process) {
                Some(process) => Request::Stdin { process, data },
                None => return Ok(Order::Nothing),
            },
            Request::Signal {
                process,
                signal,
                group,
            } => match self.process(client, process) {
                Some(process) => Request::Signal {
                    process,
                    signal,
                    group,
                },
                None => return Ok(Order::Nothing),
            },
            Request::Resize { process, size } => match self.process(client, process) {
                Some(process) => Request::Resize { process, size },
                None => return Ok(Order::Nothing),
            },
            Request::DropCaches { pages } => Request::DropCaches { pages },
            Request::PowerOff => return Ok(Order::End),
            _ => return Err(Refusal::NotForClients),
        }))
    }

    /// Whom an event is for, with the client's own numbers.
    pub(super) fn event(&mut self, event: GuestEvent) -> Option<(ClientId, GuestEvent)> {
        let mut event = event;
        let seat = match &mut event {
            GuestEvent::JobClosed { job, .. } => {
                let seat = self.jobs.remove(job)?;
                let closed = *job;
                self.processes.retain(|_, (_, of)| *of != closed);
                *job = seat.number;
                seat
            }
            GuestEvent::CommSeen { job, .. } => {
                let seat = *self.jobs.get(job)?;
                *job = seat.number;
                seat
            }
            GuestEvent::Started { process, .. }
            | GuestEvent::SpawnFailed { process, .. }
            | GuestEvent::Output { process, .. }
            | GuestEvent::Closed { process, .. }
            | GuestEvent::StdinTaken { process, .. }
            | GuestEvent::Exited { process, .. } => {
                let (seat, _) = *self.processes.get(process)?;
                *process = seat.number;
                seat
            }
            // About the guest as a whole.
            GuestEvent::Hello(_)
            | GuestEvent::Waiting { .. }
            | GuestEvent::Tidied { .. }
            | GuestEvent::Tainted { .. }
            | GuestEvent::Speed { .. }
            | GuestEvent::Alive { .. }
            | GuestEvent::Time { .. }
            | GuestEvent::Trace(_)
            | GuestEvent::Refused { .. }
            | GuestEvent::Failed { .. } => return None,
        };
        Some((seat.client, event))
    }

    /// Whose process an event is about.
    pub(super) fn owner(&self, process: ProcessId) -> Option<ClientId> {
        let (seat, _) = self.processes.get(&process)?;
        Some(seat.client)
    }

    /// The guest's numbers of a client's open jobs.
    pub(super) fn jobs_of(&self, client: ClientId) -> Vec<JobId> {
        let own = self.jobs.iter().filter(|(_, seat)| seat.client == client);
        own.map(|(job, _)| *job).collect()
    }

    /// The guest's numbers of a client's processes.
    pub(super) fn processes_of(&self, client: ClientId) -> Vec<ProcessId> {
        let all = self.processes.iter();
        let own = all.filter(|(_, (seat, _))| seat.client == client);
        own.map(|(process, _)| *process).collect()
    }

    /// Jobs and processes have numbers of one row: guest-init keeps the two apart.
    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn job(&self, client: ClientId, number: JobId) -> Result<JobId, Refusal> {
        let wanted = Seat { client, number };
        let found = self.jobs.iter().find(|(_, seat)| **seat == wanted);
        found.map(|(job, _)| *job).ok_or(Refusal::NoJob(number))
    }

    fn process(&self, client: ClientId, number: ProcessId) -> Option<ProcessId> {
        let wanted = Seat { client, number };
        let found = self.processes.iter().find(|(_, (seat, _))| *seat == wanted);
        found.map(|(process, _)| *process)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use guest_init::message::{ProcessSpec, Stream};

    use super::*;

    fn sent(board: &mut Switchboard, client: ClientId, request: Request) -> Request {
        match board.request(client, request).unwrap() {
            Order::Send(request) => request,
            order => panic!("{order:?}"),
        }
    }

    fn start(board: &mut Switchboard, client: ClientId) -> (JobId, ProcessId) {
        let Request::OpenJob { job } = sent(board, client, Request::OpenJob { job: 1 }) else {
            panic!("another request");
        };
        let spawn = Request::Spawn {
            job: 1,
            process: 1,
            spec: ProcessSpec::default(),
        };
        match sent(board, client, spawn) {
            Request::Spawn {
                job: of, process, ..
            } if of == job => (job, process),
            request => panic!("{request:?}"),
        }
    }

    fn output(process: ProcessId) -> GuestEvent {
        GuestEvent::Output {
            process,
            stream: Stream::Stdout,
            data: vec![1],
        }
    }

    #[test]
    fn clients_with_the_same_numbers_have_their_own_processes() {
        let mut board = Switchboard::default();
        let (job, first) = start(&mut board, 10);
        let (other_job, second) = start(&mut board, 20);
        assert_ne!(first, second);
        assert_ne!(job, other_job);
        assert_eq!(board.event(output(first)), Some((10, output(1))));
        assert_eq!(board.event(output(second)), Some((20, output(1))));
        let signal = |process| Request::Signal {
            process,
            signal: 2,
            group: true,
        };
        assert_eq!(sent(&mut board, 20, signal(1)), signal(second));
        assert_eq!(board.jobs_of(20), [other_job]);
        assert_eq!(board.processes_of(10), [first]);
        let closed = |job| GuestEvent::JobClosed {
            job,
            leftovers: Vec::new(),
        };
        assert_eq!(board.event(closed(job)), Some((10, closed(1))));
        // What comes late is for nobody, and a later client gets new numbers.
        assert_eq!(board.event(output(first)), None);
        assert_eq!(board.request(10, signal(1)), Ok(Order::Nothing));
        assert!(!board.is_idle());
        assert!(board.event(closed(other_job)).is_some());
        assert!(board.is_idle());
        assert!(start(&mut board, 10).1 > second);
    }

    #[test]
    fn a_client_reaches_nothing_of_another_and_nothing_of_all() {
        let mut board = Switchboard::default();
        start(&mut board, 1);
        let spawn = Request::Spawn {
            job: 1,
            process: 9,
            spec: ProcessSpec::default(),
        };
        assert_eq!(board.request(2, spawn), Err(Refusal::NoJob(1)));
        assert_eq!(
            board.request(2, Request::CloseJob { job: 1 }),
            Err(Refusal::NoJob(1))
        );
        for request in [
            Request::TakeStock,
            Request::Tidy,
            Request::AdjustClock { delta_ns: 1 },
            Request::Hold {
                process: 1,
                held: true,
            },
        ] {
            assert_eq!(board.request(1, request), Err(Refusal::NotForClients));
        }
        assert_eq!(
            board.request(1, Request::OpenJob { job: 1 }),
            Err(Refusal::JobOpen(1))
        );
        assert_eq!(board.request(2, Request::PowerOff), Ok(Order::End));
    }

    #[test]
    fn events_of_the_guest_as_a_whole_are_for_no_client() {
        let mut board = Switchboard::default();
        start(&mut board, 1);
        let tidied = GuestEvent::Tidied {
            remnants: Vec::new(),
            micros: 1,
        };
        assert_eq!(board.event(tidied), None);
        assert_eq!(board.event(output(77)), None);
    }
}
