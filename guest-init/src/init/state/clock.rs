//! The wall clock, its speed, and the kernel's time zone.

use std::time::Duration;

use guest_init::message::RemnantKind::Setting;
use nix::libc;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{
    ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags,
};
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::found::Found;

/// Seconds since 1970 at which the timer would fire: never.
const NEVER: libc::time_t = i32::MAX as libc::time_t;

#[derive(Debug)]
pub(super) struct Clock {
    /// Cancelled if somebody sets the clock, timerfd_create(2).
    set: Option<TimerFd>,
    offset: Option<Duration>,
    zone: Zone,
    speed: Option<Speed>,
}

/// `struct timezone`, gettimeofday(2).
type Zone = (i32, i32);
/// `tick` and `freq` of adjtimex(2).
type Speed = (libc::c_long, libc::c_long);

impl Clock {
    pub(super) fn take() -> Self {
        Self {
            set: timer(),
            offset: offset(),
            zone: zone(),
            speed: speed(),
        }
    }

    /// Accepts the current clock as right.
    pub(super) fn was_set_by_us(&mut self) {
        self.offset = offset();
        self.set = timer();
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        let now = zone();
        if now != self.zone {
            set_zone(self.zone);
            let name = format!("time zone of the kernel, {} min west", now.0);
            found.add(Setting, &name, zone() == self.zone);
        }
        let now = speed();
        if let (Some(now), Some(was)) = (now, self.speed)
            && now != was
        {
            set_speed(was);
            found.add(Setting, "speed of the clock", speed() == Some(was));
        }
        if !self.was_set() {
            return;
        }
        let now = offset();
        let gone = self.offset.is_some_and(|offset| {
            clock_gettime(ClockId::CLOCK_BOOTTIME).is_ok_and(|now| {
                let time = Duration::from(now) + offset;
                clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(time)).is_ok()
            })
        });
        self.set = timer();
        let moved = match (now, self.offset) {
            (Some(now), Some(was)) if now >= was => {
                format!("{} ms ahead", now.saturating_sub(was).as_millis())
            }
            (Some(now), Some(was)) => format!("{} ms behind", was.saturating_sub(now).as_millis()),
            _ => "set".to_owned(),
        };
        found.add(Setting, &format!("clock, {moved}"), gone);
    }

    /// `nix` treats a cancelled timer as one that has fired.
    fn was_set(&self) -> bool {
        self.set.as_ref().is_some_and(|timer| timer.wait().is_ok())
    }
}

fn timer() -> Option<TimerFd> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(TimerClock::CLOCK_REALTIME, flags).ok()?;
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    let never = Expiration::OneShot(TimeSpec::new(NEVER, 0));
    timer.set(never, flags).ok()?;
    Some(timer)
}

/// The wall clock's time at boot. Only setting the clock changes it, because both clocks are slewed
/// alike.
fn offset() -> Option<Duration> {
    let boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).ok()?).checked_sub(boot)
}

fn zone() -> Zone {
    let mut zone = [0_i32; 2];
    // SAFETY: a null `timeval` is allowed, and `zone` is a live, writable
    // `struct timezone`: two ints (gettimeofday(2)). `nix` has no call for it.
    // By its number: the C library gives zeroes.
    unsafe {
        libc::syscall(
            libc::SYS_gettimeofday,
            std::ptr::null_mut::<libc::timeval>(),
            zone.as_mut_ptr(),
        );
    }
    zone.into()
}

fn set_zone(zone: Zone) {
    let zone = [zone.0, zone.1];
    // SAFETY: as for `zone`; the kernel only reads it.
    unsafe {
        libc::syscall(
            libc::SYS_settimeofday,
            std::ptr::null::<libc::timeval>(),
            zone.as_ptr(),
        );
    }
}

fn speed() -> Option<Speed> {
    // SAFETY: timex is plain data for which all zeroes are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: a live, writable value; with no mode set nothing changes
    // (adjtimex(2)). `nix` and `rustix` have no call for it.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some((timex.tick, timex.freq))
}

fn set_speed((tick, freq): Speed) {
    // SAFETY: timex is plain data for which all zeroes are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    timex.modes = libc::ADJ_TICK | libc::ADJ_FREQUENCY;
    timex.tick = tick;
    timex.freq = freq;
    // SAFETY: a live, writable value. The next read shows whether it worked.
    unsafe { libc::adjtimex(&raw mut timex) };
}
