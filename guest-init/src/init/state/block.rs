//! Block devices that a test sets up, and swap.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::time::Duration;

use guest_init::message::RemnantKind::{BlockDevice, Swap};
use nix::libc;
use rustix::fs::OFlags;

use super::found::Found;
use crate::init::kept::{Kept, View};
use crate::init::mountinfo::unescaped;

/// `LOOP_CLR_FD` of linux/loop.h.
const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
/// How long a released device may take to vanish.
const SETTLE: Duration = Duration::from_millis(20);
const ROUNDS: usize = 10;

#[derive(Debug)]
pub(super) struct Block {
    swaps: Option<(Kept, Vec<u8>)>,
    /// A device that is set up has a size.
    partitions: Option<(Kept, Vec<u8>)>,
    dev: Option<View>,
    sys: Option<View>,
}

impl Block {
    pub(super) fn take() -> Self {
        let proc = View::of("/proc");
        let kept = |path: &str| {
            let file = proc.as_ref()?.keep(path)?;
            let text = file.read()?;
            Some((file, text))
        };
        Self {
            swaps: kept("swaps"),
            partitions: kept("partitions"),
            dev: View::of("/dev"),
            sys: View::of("/sys"),
        }
    }

    pub(super) fn restore(&mut self, found: &mut Found) {
        if let Some((file, was)) = &self.swaps
            && let Some(now) = file.read().filter(|now| now != was)
        {
            for path in new(&now, was, 0) {
                let gone = CString::new(unescaped(&path)).is_ok_and(|path| swapoff(&path));
                found.add(Swap, &String::from_utf8_lossy(&path), gone);
            }
        }
        let Some((file, was)) = &self.partitions else {
            return;
        };
        let Some(now) = file.read().filter(|now| now != was) else {
            return;
        };
        let devices = new(&now, was, 3);
        let mut left = devices.clone();
        for round in 0..ROUNDS {
            for name in &left {
                self.let_go(&String::from_utf8_lossy(name));
            }
            left = new(&file.read().unwrap_or_default(), was, 3);
            if left.is_empty() || found.late() {
                break;
            }
            if round > 0 {
                std::thread::sleep(SETTLE);
            }
        }
        for name in devices {
            let gone = !left.contains(&name);
            found.add(BlockDevice, &String::from_utf8_lossy(&name), gone);
        }
    }

    /// Detaches a loop device's file, and frees a zram's memory.
    fn let_go(&self, name: &str) {
        if name.starts_with("zram") {
            if let Some(sys) = &self.sys {
                sys.write(&format!("block/{name}/reset"), OFlags::empty(), b"1");
            }
        } else if name.starts_with("loop")
            && let Some(file) = self
                .dev
                .as_ref()
                .and_then(|dev| dev.open(name, OFlags::RDONLY))
        {
            // SAFETY: LOOP_CLR_FD takes no argument; the descriptor is open.
            unsafe { libc::ioctl(file.as_raw_fd(), LOOP_CLR_FD, 0) };
        }
    }
}

/// One column of the new lines; the heading is never new. The other columns may change.
fn new(now: &[u8], was: &[u8], column: usize) -> Vec<Vec<u8>> {
    let names = |text: &[u8]| -> Vec<Vec<u8>> {
        text.split(|&byte| byte == b'\n')
            .filter_map(|line| {
                let mut fields = line
                    .split(u8::is_ascii_whitespace)
                    .filter(|field| !field.is_empty());
                fields.nth(column).map(<[u8]>::to_vec)
            })
            .collect()
    };
    let was = names(was);
    let headings: [&[u8]; 2] = [b"Filename", b"name"];
    names(now)
        .into_iter()
        .filter(|name| !was.contains(name) && !headings.contains(&name.as_slice()))
        .collect()
}

fn swapoff(path: &CString) -> bool {
    // SAFETY: a live string that ends in NUL; neither `nix` nor `rustix` has
    // swapoff(2).
    unsafe { libc::swapoff(path.as_ptr()) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_swaps_are_read_in_their_columns() {
        let partitions = b"major minor  #blocks  name\n\n   7        0       1024 loop0\n";
        let found = new(partitions, b"", 3);
        assert_eq!(found, [b"loop0".to_vec()]);
        let swaps = b"Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                      /tmp/a\\040b                             file\t\t1020\t\t0\t\t-2\n";
        let found = new(swaps, b"Filename Type\n", 0);
        assert_eq!(found, [b"/tmp/a\\040b".to_vec()]);
        assert!(new(swaps, swaps, 0).is_empty());
    }
}
