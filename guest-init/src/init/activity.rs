//! A little of the background activity of a busy machine.
//!
//! Some tests wait for an event that something else in the system causes: bpftrace's
//! `probe.software` traces page faults and ends at the first. In a guest that runs only the test
//! there are none while it waits, so the host requests them (`Request::CausePageFaults`).

use std::num::NonZeroUsize;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A test of the order of two probes needs one event to prepare both, and another one.
const FAULTS: usize = 4;

const PAGE: usize = 4096;

/// Causes a few page faults by touching fresh pages, in a new mapping because an allocator would
/// reuse old pages.
pub(super) fn cause_page_faults() {
    let Some(length) = NonZeroUsize::new(FAULTS * PAGE) else {
        return;
    };
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new private mapping at an address that the kernel chooses overlaps nothing.
    let mapped = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE) };
    // A guest that is short of memory has page faults anyway.
    let Ok(start) = mapped else {
        return;
    };
    for page in 0..FAULTS {
        // SAFETY: within the mapping, which is writable and used only here.
        unsafe { start.cast::<u8>().add(page * PAGE).write_volatile(1) };
    }
    // SAFETY: this is the complete mapping, and no pointer to it remains.
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
