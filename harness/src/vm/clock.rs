//! Keeps a guest's wall clock in sync with the host's.
//!
//! A kernel reads its clock from the RTC, which counts seconds, so a guest starts up to a second
//! off, and loses the time for which its VM is stopped. make(1) then believes that files written by
//! the host come from the future.
//!
//! The host asks the guest for its time and moves its clock by the difference. A guest slightly
//! ahead does no harm, but one behind does, so the difference is measured at the moment when the
//! answer arrives. After the first time the guest's wall clock belongs to the guest: a test may set
//! it. If the VM was stopped, the clock that nobody can set shows it, and the wall clock is moved
//! by the same amount.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guest_init::frame;
use guest_init::message::{GuestEvent, Request};
use tokio::sync::{mpsc, watch};

/// Most requests in a round; the fastest answer counts.
const QUESTIONS: u32 = 5;
/// An answer that came in this time, in nanoseconds, is good enough.
const QUICK: i64 = 2_000_000;
/// How far off a heartbeat may be before the host asks, in nanoseconds: it may just have been read
/// late.
const SUSPICIOUS: i64 = 50_000_000;
/// How far off an answer must be to move the clock.
const OFF: i64 = 25_000_000;

/// Watches a guest's events, asks for its time and sets its clock.
#[derive(Debug)]
pub(super) struct ClockKeeper {
    /// Frames to the guest. Weak: this must not keep the port open.
    frames: mpsc::WeakSender<Vec<u8>>,
    /// Whether the clock has been set.
    set: watch::Sender<bool>,
    round: Option<Round>,
    /// The host's wall clock minus the guest's time since boot.
    lead: Option<i64>,
}

/// Requests to the guest that belong together.
#[derive(Debug)]
struct Round {
    asked: i64,
    left: u32,
    best: Option<Sample>,
}

/// An answer, with the host's wall clock before and after.
#[derive(Debug, Clone, Copy)]
struct Sample {
    asked: i64,
    answered: i64,
    realtime: i64,
    since_boot: i64,
}

impl Sample {
    fn took(&self) -> i64 {
        self.answered.saturating_sub(self.asked)
    }
}

impl ClockKeeper {
    /// For the guest that receives `frames`. The receiver says when the clock has been set.
    pub(super) fn new(frames: mpsc::WeakSender<Vec<u8>>) -> (Self, watch::Receiver<bool>) {
        let (set, receiver) = watch::channel(false);
        let keeper = Self {
            frames,
            set,
            round: None,
            lead: None,
        };
        (keeper, receiver)
    }

    /// Handles an event; true if nobody else needs it.
    pub(super) fn take(&mut self, event: &GuestEvent) -> bool {
        self.take_at(event, host_now())
    }

    fn take_at(&mut self, event: &GuestEvent, now: i64) -> bool {
        match event {
            GuestEvent::Hello(_) => {
                self.ask(now, QUESTIONS, None);
                false
            }
            GuestEvent::Alive { since_boot_ns } => {
                if let Some(lead) = self.lead
                    && self.round.is_none()
                {
                    let off = now
                        .saturating_sub(signed(*since_boot_ns))
                        .saturating_sub(lead);
                    if off.saturating_abs() > SUSPICIOUS {
                        self.ask(now, QUESTIONS, None);
                    }
                }
                true
            }
            GuestEvent::Time {
                realtime_ns,
                since_boot_ns,
            } => {
                if let Some(round) = self.round.take() {
                    let sample = Sample {
                        asked: round.asked,
                        answered: now,
                        realtime: *realtime_ns,
                        since_boot: signed(*since_boot_ns),
                    };
                    self.answered(&round, sample, now);
                }
                true
            }
            _ => false,
        }
    }

    fn answered(&mut self, round: &Round, sample: Sample, now: i64) {
        let best = match round.best {
            Some(best) if best.took() <= sample.took() => best,
            _ => sample,
        };
        if best.took() > QUICK && round.left > 0 {
            self.ask(now, round.left, Some(best));
            return;
        }
        let delta = match self.lead {
            None => Some(best.answered.saturating_sub(best.realtime)),
            Some(lead) => lost(&best, lead),
        };
        let Some(delta_ns) = delta else {
            return;
        };
        if self.send(&Request::AdjustClock { delta_ns }) {
            self.lead = Some(match self.lead {
                None => best.answered.saturating_sub(best.since_boot),
                Some(lead) => lead.saturating_add(delta_ns),
            });
            self.set.send_replace(true);
        }
    }

    /// Asks for the time; if that fails, the next heartbeat tries again.
    fn ask(&mut self, now: i64, questions: u32, best: Option<Sample>) {
        if self.send(&Request::AskTime) {
            self.round = Some(Round {
                asked: now,
                left: questions.saturating_sub(1),
                best,
            });
        }
    }

    /// Never waits, so that the guest's events are always read.
    fn send(&self, request: &Request) -> bool {
        let (Some(frames), Ok(frame)) = (self.frames.upgrade(), frame::encode(request)) else {
            return false;
        };
        frames.try_send(frame).is_ok()
    }
}

/// How much time the guest has lost since its clock had this lead. The truth is between the host's
/// clock before and after: `None` if it may be close to nothing.
fn lost(sample: &Sample, lead: i64) -> Option<i64> {
    let since = |host: i64| host.saturating_sub(sample.since_boot).saturating_sub(lead);
    let (least, most) = (since(sample.asked), since(sample.answered));
    let is_sharp = sample.took() < OFF;
    if least > OFF {
        Some(if is_sharp { most } else { least })
    } else if most < -OFF {
        Some(most)
    } else {
        None
    }
}

/// Nanoseconds since 1970.
fn host_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    signed(nanoseconds(since.unwrap_or_default()))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn signed(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use guest_init::frame::Decoder;
    use guest_init::message::Hello;
    use proptest::prelude::*;

    use super::*;

    const MILLI: i64 = 1_000_000;
    const SECOND: i64 = 1_000_000_000;

    /// A host's clock, a guest's clocks, and the keeper between them.
    struct Bench {
        keeper: ClockKeeper,
        set: watch::Receiver<bool>,
        sender: mpsc::Sender<Vec<u8>>,
        receiver: mpsc::Receiver<Vec<u8>>,
        host: i64,
        realtime: i64,
        since_boot: i64,
        questions: u32,
    }

    impl Bench {
        fn new(behind: i64) -> Self {
            let (sender, receiver) = mpsc::channel(8);
            let (keeper, set) = ClockKeeper::new(sender.downgrade());
            let host = 1_700_000_000 * SECOND;
            Self {
                keeper,
                set,
                sender,
                receiver,
                host,
                realtime: host - behind,
                since_boot: 2 * SECOND,
                questions: 0,
            }
        }

        fn pass(&mut self, time: i64) {
            self.host += time;
            self.realtime += time;
            self.since_boot += time;
        }

        fn tell(&mut self, event: &GuestEvent) -> bool {
            self.keeper.take_at(event, self.host)
        }

        fn hello(&mut self) {
            assert!(!self.tell(&GuestEvent::Hello(Hello::default())));
            self.answer(MILLI / 2);
        }

        fn heartbeat(&mut self, late: i64) {
            let since_boot_ns = u64::try_from(self.since_boot).unwrap();
            self.pass(late);
            assert!(self.tell(&GuestEvent::Alive { since_boot_ns }));
        }

        /// Answers all questions; each way takes this long.
        fn answer(&mut self, way: i64) {
            while let Ok(frame) = self.receiver.try_recv() {
                for request in Decoder::new().push::<Request>(&frame) {
                    self.pass(way);
                    match request.unwrap() {
                        Request::AskTime => {
                            self.questions += 1;
                            let time = GuestEvent::Time {
                                realtime_ns: self.realtime,
                                since_boot_ns: u64::try_from(self.since_boot).unwrap(),
                            };
                            self.pass(way);
                            assert!(self.tell(&time));
                        }
                        Request::AdjustClock { delta_ns } => self.realtime += delta_ns,
                        other => panic!("{other:?}"),
                    }
                }
            }
        }

        fn ahead(&self) -> i64 {
            self.realtime - self.host
        }
    }

    #[test]
    fn a_guests_clock_is_set_at_hello_and_is_never_behind() {
        for behind in [0, 450 * MILLI, -450 * MILLI, 3600 * SECOND] {
            let mut bench = Bench::new(behind);
            assert!(!*bench.set.borrow());
            bench.hello();
            assert!(*bench.set.borrow());
            assert!((0..=MILLI).contains(&bench.ahead()), "{}", bench.ahead());
        }
    }

    #[test]
    fn a_slow_answer_is_asked_for_again_and_the_quickest_counts() {
        let mut bench = Bench::new(SECOND);
        bench.tell(&GuestEvent::Hello(Hello::default()));
        bench.answer(10 * MILLI);
        assert_eq!(bench.questions, QUESTIONS);
        assert!(
            (0..=10 * MILLI).contains(&bench.ahead()),
            "{}",
            bench.ahead()
        );
    }

    #[test]
    fn a_vm_that_stood_still_is_set_again_and_one_that_was_heard_late_is_not() {
        let mut bench = Bench::new(SECOND);
        bench.hello();
        bench.pass(10 * SECOND);
        bench.heartbeat(MILLI);
        assert_eq!(bench.questions, 1);
        bench.heartbeat(2 * SECOND);
        bench.answer(MILLI / 4);
        assert_eq!(bench.questions, 2);
        assert!((0..=MILLI).contains(&bench.ahead()));
        // Stopped: only the host's clock runs.
        bench.host += 30 * SECOND;
        bench.heartbeat(MILLI);
        bench.answer(MILLI / 4);
        assert!(
            (0..=2 * MILLI).contains(&bench.ahead()),
            "{}",
            bench.ahead()
        );
        bench.heartbeat(MILLI);
        assert_eq!(bench.questions, 3);
    }

    #[test]
    fn a_clock_that_a_test_has_set_stays_and_is_moved_by_what_a_stop_cost() {
        let mut bench = Bench::new(0);
        bench.hello();
        let year = 365 * 24 * 3600 * SECOND;
        bench.realtime += year;
        bench.heartbeat(MILLI);
        bench.answer(MILLI / 4);
        assert_eq!(bench.questions, 1);
        bench.host += SECOND;
        bench.heartbeat(MILLI);
        bench.answer(MILLI / 4);
        let off = bench.ahead() - year;
        assert!((0..=2 * MILLI).contains(&off), "{off}");
    }

    #[test]
    fn a_full_queue_is_tried_again_with_the_next_heartbeat() {
        let mut bench = Bench::new(0);
        bench.hello();
        bench.host += SECOND;
        for _ in 0..8 {
            bench.sender.try_send(Vec::new()).unwrap();
        }
        bench.heartbeat(MILLI);
        assert_eq!(bench.questions, 1);
        while bench.receiver.try_recv().is_ok() {}
        bench.heartbeat(MILLI);
        bench.answer(MILLI / 4);
        assert!(
            (0..=2 * MILLI).contains(&bench.ahead()),
            "{}",
            bench.ahead()
        );
    }

    proptest! {
        #[test]
        fn no_times_of_a_guest_make_it_panic(
            times in proptest::collection::vec((any::<i64>(), any::<u64>(), any::<bool>()), 0..20),
        ) {
            let (sender, _receiver) = mpsc::channel(64);
            let (mut keeper, _set) = ClockKeeper::new(sender.downgrade());
            keeper.take(&GuestEvent::Hello(Hello::default()));
            for (realtime_ns, since_boot_ns, alive) in times {
                let event = if alive {
                    GuestEvent::Alive { since_boot_ns }
                } else {
                    GuestEvent::Time { realtime_ns, since_boot_ns }
                };
                prop_assert!(keeper.take(&event));
            }
        }
    }
}
