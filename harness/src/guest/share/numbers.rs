//! Inode numbers of a share that spans several file systems of the host.
//!
//! A guest sees a share as one file system, so two files of two file systems with the same inode
//! number would be one file to `cp`, `diff` and the dynamic loader, which compare device and inode
//! number. Here each (device, inode) of the host gets a unique number, which stays the same while
//! the share is served.
//!
//! Files of the share's first device keep their numbers. The others get the number of their device
//! in the bits above, as in overlayfs with `xino` (kernel doc, filesystems/overlayfs). Inodes whose
//! numbers need those bits themselves are numbered in the order in which they appear.

use std::collections::HashMap;

/// Bits for a file system's own inode numbers.
const INODE_BITS: u32 = 48;
/// Above them are 12 bits for the device. The uppermost 4 bits stay clear, because an overlay in
/// the guest may use them.
const ODD: u64 = 0xfff;

/// The numbers given so far.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Device number to its index in order of appearance.
    devices: HashMap<u64, u64>,
    /// Files whose numbers do not fit, or whose device came too late.
    odd: HashMap<(u64, u64), u64>,
}

impl Numbers {
    /// `first` is the device of the shared directory itself.
    pub(super) fn new(first: u64) -> Self {
        Self {
            devices: HashMap::from([(first, 0)]),
            odd: HashMap::new(),
        }
    }

    /// The number of this file.
    pub(super) fn number(&mut self, device: u64, inode: u64) -> u64 {
        let next = self.devices.len() as u64;
        let index = *self.devices.entry(device).or_insert(next);
        if index < ODD && inode >> INODE_BITS == 0 {
            return index << INODE_BITS | inode;
        }
        let next = self.odd.len() as u64;
        let place = *self.odd.entry((device, inode)).or_insert(next);
        ODD << INODE_BITS | place
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_of_the_first_device_keep_their_numbers() {
        let mut numbers = Numbers::new(41);
        assert_eq!(numbers.number(41, 2), 2);
        assert_eq!(numbers.number(41, 1 << 40), 1 << 40);
    }

    #[test]
    fn an_inode_that_is_numbered_alike_elsewhere_has_another_number() {
        let mut numbers = Numbers::new(41);
        let elsewhere = numbers.number(42, 2);
        assert_ne!(elsewhere, 2);
        assert_ne!(numbers.number(43, 2), elsewhere);
        assert_eq!(numbers.number(42, 2), elsewhere);
    }

    #[test]
    fn more_devices_than_there_is_room_for_stay_distinct() {
        let mut numbers = Numbers::new(0);
        let given: std::collections::BTreeSet<u64> = (0..10_000)
            .map(|device| numbers.number(device, 2))
            .collect();
        assert_eq!(given.len(), 10_000);
    }

    fn inode() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..50u64,
            any::<u64>(),
            any::<u64>().prop_map(|n| n | 0xfff << 48)
        ]
    }

    proptest! {
        #[test]
        fn each_file_has_one_number_of_its_own(
            files in prop::collection::vec((0..8u64, inode()), 1..200)
        ) {
            let mut numbers = Numbers::new(3);
            let mut files_of = HashMap::new();
            for file in files {
                let number = numbers.number(file.0, file.1);
                prop_assert_eq!(*files_of.entry(number).or_insert(file), file);
                prop_assert_eq!(numbers.number(file.0, file.1), number);
                prop_assert_eq!(number >> 60, 0);
            }
        }
    }
}
