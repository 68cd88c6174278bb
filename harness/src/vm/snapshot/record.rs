//! What is written down of a saved VM beside its memory and devices.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Error;
use super::memory::Content;
use crate::stamp::Stamp;

/// How far off the frequency of the host's counter may be, in parts per million: its measurements
/// differ by some hundred, and the guest's kernel tolerates 500.
const TOLERANCE_PPM: u64 = 1_000;

/// The record of a saved VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The program that QEMU's process ran, which a script may have started.
    pub(super) program: Program,
    /// Frequency of the host's counter that the guest's kernel was told, in kHz.
    pub(super) counter_khz: Option<u64>,
    /// What the file of the memory holds.
    pub(super) memory: Content,
    /// Checksum of the file of the devices, CRC-32.
    pub(super) devices: u32,
}

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Program {
    path: PathBuf,
    stamp: Stamp,
}

impl Program {
    /// That of a process.
    pub(super) fn of(pid: Pid) -> Result<Self, Error> {
        let link = PathBuf::from(format!("/proc/{pid}/exe"));
        let program = || -> io::Result<Self> {
            Ok(Self {
                path: fs::read_link(&link)?,
                stamp: Stamp::of(&link)?,
            })
        };
        program().map_err(Error::file("read", &link))
    }
}

impl Record {
    /// Whether the QEMU of this process, on this host, may go on where the saved one stood.
    pub(super) fn check(&self, pid: Pid, counter_khz: Option<u64>) -> Result<(), Error> {
        if Program::of(pid)? != self.program {
            return Err(Error::Other("the program of QEMU"));
        }
        if !is_close(self.counter_khz, counter_khz) {
            return Err(Error::Other("the frequency of the host's counter"));
        }
        Ok(())
    }
}

fn is_close(saved: Option<u64>, now: Option<u64>) -> bool {
    match (saved, now) {
        (Some(saved), Some(now)) => {
            saved.abs_diff(now).saturating_mul(1_000_000) <= saved.saturating_mul(TOLERANCE_PPM)
        }
        (saved, now) => saved == now,
    }
}

/// Checksum of a file, CRC-32.
pub(super) fn checksum(path: &Path) -> Result<u32, Error> {
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    Ok(crc32fast::hash(&bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn measurements_of_one_counter_are_close_and_those_of_two_are_not() {
        assert!(is_close(Some(2_596_120), Some(2_596_900)));
        assert!(!is_close(Some(2_596_120), Some(2_600_000)));
        assert!(is_close(None, None));
        assert!(!is_close(Some(2_596_120), None));
    }

    #[test]
    fn a_state_is_for_the_program_that_saved_it() {
        let own = Pid::this();
        let record = Record {
            program: Program::of(own).unwrap(),
            counter_khz: Some(1_000_000),
            memory: Content::default(),
            devices: 0,
        };
        record.check(own, Some(1_000_100)).unwrap();
        assert!(matches!(
            record.check(own, Some(2_000_000)),
            Err(Error::Other(what)) if what.contains("counter")
        ));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let checked = record.check(pid, Some(1_000_000));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(
            checked,
            Err(Error::Other(what)) if what.contains("program")
        ));
    }
}
