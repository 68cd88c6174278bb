//! Saves a VM whose guest waits.

use std::time::Duration;

use nix::unistd::Pid;

use super::record::{Program, Record, checksum};
use super::store::Draft;
use super::{Error, Memory, Snapshot, memory};
use crate::blocking::blocking;
use crate::vm::qmp::Qmp;

/// How long QEMU may take to write the state of its devices, some 100 kB.
const WITHIN: Duration = Duration::from_secs(20);

/// What became of a VM that was to be saved.
#[derive(Debug)]
pub enum Saved {
    /// It is saved, or somebody else is about to save the same.
    Done,
    /// It is not saved.
    Not(Error),
    /// It is not saved, and its processors stand still.
    Stuck(Error),
}

/// Saves a VM whose guest waits, and lets it go on. `console` is what the guest has written so far.
pub async fn save(
    snapshot: &Snapshot,
    counter_khz: Option<u64>,
    (memory, qemu): (&Memory, Pid),
    qmp: &Qmp,
    console: String,
) -> Saved {
    let draft = match snapshot.store.begin(&snapshot.key) {
        Ok(Some(draft)) => draft,
        Ok(None) => return Saved::Done,
        Err(error) => return Saved::Not(error),
    };
    let written = async {
        qmp.stop().await?;
        // First: from then on nobody writes to the memory, nor do the devices of shares.
        qmp.save_state(&draft.devices(), WITHIN).await?;
        write(draft, counter_khz, memory, qemu).await
    };
    let written = written.await;
    // Before all that is left to do: the guest need not wait for the disk.
    if let Err(error) = qmp.cont().await {
        return Saved::Stuck(error.into());
    }
    let (draft, record) = match written {
        Ok(written) => written,
        Err(error) => return Saved::Not(error),
    };
    let store = snapshot.store.clone();
    let published = blocking(move || {
        let published = draft.publish(&record, console.as_bytes());
        store.tidy();
        published
    });
    match published.await {
        Ok(()) => Saved::Done,
        Err(error) => Saved::Not(error),
    }
}

/// Copies the memory of a VM that stands still, and describes the rest.
async fn write(
    draft: Draft,
    counter_khz: Option<u64>,
    memory: &Memory,
    qemu: Pid,
) -> Result<(Draft, Record), Error> {
    let memory = memory.another();
    blocking(move || {
        let copied = memory
            .and_then(|memory| memory::copy_out(&memory, &draft.memory()))
            .map_err(Error::file("write", &draft.memory()))?;
        let record = Record {
            program: Program::of(qemu)?,
            counter_khz,
            memory: copied,
            devices: checksum(&draft.devices())?,
        };
        Ok((draft, record))
    })
    .await
}
