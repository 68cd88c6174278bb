//! Keeps a share process from running out of file descriptors.
//!
//! Every file that the guest's kernel caches holds a descriptor here until the guest drops it, and
//! a guest with enough memory drops nothing. So the share asks for it: it writes a byte to its
//! standard output, and the harness makes the guest drop what it does not use. Meanwhile the share
//! slows down new files, so that a walk over a large tree does not reach the limit before the guest
//! has released anything.

use std::io::Write;
use std::time::{Duration, Instant};

/// The shortest time in which the guest can use up what is above the mark.
const RUNWAY: Duration = Duration::from_secs(10);
/// The time between two requests that did not help.
const REPEAT: Duration = Duration::from_secs(3);
/// What is still in use after this time stays in use, so waiting longer is pointless.
const PATIENCE: Duration = Duration::from_secs(15);
/// Minimum number of entries of one listing to look up.
const FEWEST_ENTRIES: u64 = 16;
/// A listing may use this fraction of what is left: the guest cannot release anything before it
/// ends.
const LISTING_PART: u64 = 8;

/// What a share reports about its descriptors, one byte each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PressureSignal {
    /// Half of them are in use: release some at the next quiet moment.
    Half = b'h',
    /// Three quarters are in use: the guest must now drop what it does not use.
    Drop = b'd',
    /// That was not enough: it must also drop cached pages, which keep files in use on kernels from
    /// 5.15 on (`inode_add_lru`, fs/inode.c).
    DropPages = b'p',
    /// None is left, and the guest got `ENFILE`.
    Full = b'f',
}

impl PressureSignal {
    /// The meaning of a byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Half, Self::Drop, Self::DropPages, Self::Full]
            .into_iter()
            .find(|signal| *signal as u8 == byte)
    }
}

/// Watches how many descriptors the guest holds.
pub(super) struct Pressure<W> {
    limit: u64,
    /// Where the reports go.
    out: W,
    half_reported: bool,
    /// When the count last rose above the mark.
    above: Option<Instant>,
    /// When the guest was last asked to drop something, while it is above the mark.
    asked: Option<Instant>,
    full_reported: Option<Instant>,
}

impl<W: Write> Pressure<W> {
    /// The guest may hold `limit` descriptors.
    pub(super) fn new(limit: u64, out: W) -> Self {
        Self {
            limit,
            out,
            half_reported: false,
            above: None,
            asked: None,
            full_reported: None,
        }
    }

    fn mark(&self) -> u64 {
        self.limit / 4 * 3
    }

    /// Notes that the guest holds `used`; returns how long the next request must wait.
    pub(super) fn note(&mut self, used: u64, now: Instant) -> Duration {
        if used < self.limit / 2 {
            self.half_reported = false;
            self.above = None;
            self.asked = None;
            return Duration::ZERO;
        }
        if !self.half_reported {
            self.half_reported = true;
            self.say(PressureSignal::Half);
        }
        if used < self.mark() {
            self.above = None;
            return Duration::ZERO;
        }
        let above = *self.above.get_or_insert(now);
        match self.asked {
            None => {
                self.asked = Some(now);
                self.say(PressureSignal::Drop);
            }
            Some(asked) if now.duration_since(asked) >= REPEAT => {
                self.asked = Some(now);
                self.say(PressureSignal::DropPages);
            }
            Some(_) => {}
        }
        if now.duration_since(above) > PATIENCE {
            return Duration::ZERO;
        }
        // The waits on the way to the limit add up to the shortest time.
        let room = self.limit.saturating_sub(self.mark()).max(1);
        let risen = used.saturating_sub(self.mark()).min(room);
        let part = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        RUNWAY * 2 / part(room) * part(risen) / part(room)
    }

    /// Notes that the guest was refused a descriptor.
    pub(super) fn full(&mut self, now: Instant) {
        if self
            .full_reported
            .is_none_or(|said| now.duration_since(said) >= Duration::from_secs(1))
        {
            self.full_reported = Some(now);
            self.say(PressureSignal::Full);
        }
    }

    /// How many entries one listing may have.
    pub(super) fn entries(&self, used: u64) -> u64 {
        (self.limit.saturating_sub(used) / LISTING_PART).max(FEWEST_ENTRIES)
    }

    /// If the harness does not listen, it has ended, and the guest with it.
    fn say(&mut self, signal: PressureSignal) {
        let _ = self.out.write_all(&[signal as u8]);
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressure() -> Pressure<Vec<u8>> {
        Pressure::new(1_000, Vec::new())
    }

    #[test]
    fn signals_are_read_back() {
        for signal in [
            PressureSignal::Half,
            PressureSignal::Drop,
            PressureSignal::DropPages,
            PressureSignal::Full,
        ] {
            assert_eq!(PressureSignal::from_byte(signal as u8), Some(signal));
        }
        assert_eq!(PressureSignal::from_byte(b'x'), None);
    }

    #[test]
    fn a_guest_that_holds_little_is_left_alone() {
        let mut pressure = pressure();
        let now = Instant::now();
        for used in 0..500 {
            assert_eq!(pressure.note(used, now), Duration::ZERO);
        }
        assert!(pressure.out.is_empty());
    }

    #[test]
    fn a_rise_asks_once_and_again_for_more_if_that_did_not_help() {
        let mut pressure = pressure();
        let start = Instant::now();
        for used in 400..900 {
            pressure.note(used, start);
        }
        assert_eq!(pressure.out, b"hd");
        pressure.note(900, start + REPEAT);
        assert_eq!(pressure.out, b"hdp");
        // Released descriptors can be used again at once.
        pressure.note(100, start + REPEAT);
        pressure.note(760, start + REPEAT);
        assert_eq!(pressure.out, b"hdphd");
    }

    #[test]
    fn the_last_quarter_takes_as_long_as_a_guest_needs_to_give_something_back() {
        let mut pressure = pressure();
        let now = Instant::now();
        let all: Duration = (750..=1_000).map(|used| pressure.note(used, now)).sum();
        assert!(all >= RUNWAY.mul_f64(0.95), "{all:?}");
        assert!(all <= RUNWAY.mul_f64(1.1), "{all:?}");
    }

    #[test]
    fn what_is_in_use_for_good_slows_nothing_for_ever() {
        let mut pressure = pressure();
        let start = Instant::now();
        assert!(pressure.note(990, start) > Duration::ZERO);
        let later = start + PATIENCE + Duration::from_secs(1);
        assert_eq!(pressure.note(990, later), Duration::ZERO);
    }

    #[test]
    fn a_listing_never_takes_all_that_is_left() {
        let pressure = pressure();
        assert_eq!(pressure.entries(0), 125);
        assert_eq!(pressure.entries(999), FEWEST_ENTRIES);
    }

    #[test]
    fn a_refusal_is_reported_once_a_second() {
        let mut pressure = pressure();
        let start = Instant::now();
        pressure.full(start);
        pressure.full(start);
        assert_eq!(pressure.out, b"f");
        pressure.full(start + Duration::from_secs(1));
        assert_eq!(pressure.out, b"ff");
    }
}
