//! A little of what a machine with other work has all the time.
//!
//! Some tests wait for an event that something else in the system causes:
//! bpftrace's `probe.software` traces page faults and ends at the first. In a
//! guest that runs nothing but the test there is none for as long as it waits. The
//! host asks for them (`Request::CausePageFaults`).

use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A test of the order of two probes needs an event that readies both, and one
/// more.
const FAULTS: usize = 4;

const PAGE: usize = 4096;

/// Causes a few page faults: touches fresh pages, of a mapping of their own
/// because an allocator hands out the same ones again.
pub(super) fn cause_page_faults() {
    let Some(length) = NonZeroUsize::new(FAULTS * PAGE) else {
        return;
    };
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new private mapping at an address of the kernel's choice
    // overlaps nothing.
    let mapped = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE) };
    // A guest that is short of memory has faults of its own.
    let Ok(start) = mapped else {
        return;
    };
    for page in 0..FAULTS {
        // SAFETY: within the mapping, which is writable and nobody else's.
        unsafe { start.cast::<u8>().add(page * PAGE).write_volatile(1) };
    }
    // SAFETY: this is the whole of the mapping, and no pointer to it is left.
    let _ = unsafe { munmap(start, length.get()) };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nix::sys::resource::{UsageWho, getrusage};

    #[test]
    fn pages_are_faulted_in() {
        let faults = || {
            getrusage(UsageWho::RUSAGE_THREAD)
                .unwrap()
                .minor_page_faults()
        };
        for _ in 0..3 {
            let before = faults();
            cause_page_faults();
            let caused = faults() - before;
            assert!(caused >= 4, "{caused} faults");
        }
    }
}
