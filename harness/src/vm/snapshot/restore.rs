//! Loads a saved state into a QEMU that waits for one.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;

use super::record::checksum;
use super::{Error, Memory, State, memory};
use crate::blocking::blocking;
use crate::vm::qmp::Qmp;

/// How long QEMU may take to read the state of its devices, some 100 kB.
const WITHIN: Duration = Duration::from_secs(20);

/// Fills the memory of a guest with what the saved one had. QEMU may start meanwhile: one that waits
/// for a state writes nothing to the memory.
pub async fn fill(state: &Arc<State>, memory: &Memory) -> Result<(), Error> {
    let (state, from) = (Arc::clone(state), state.memory());
    let memory = memory.another().map_err(Error::file("open", &from))?;
    blocking(move || {
        let copied = memory::copy_in(&from, &state.record.memory, &memory);
        if !copied.map_err(Error::file("read", &from))? {
            return Err(Error::Damaged("its memory"));
        }
        if checksum(&state.devices())? != state.record.devices {
            return Err(Error::Damaged("its devices"));
        }
        Ok(())
    })
    .await
}

/// Loads the state of the devices into a QEMU that was started with `-incoming defer`, whose memory
/// is filled and whose control port has its peer. The guest then runs, and waits.
pub async fn load(
    state: &State,
    counter_khz: Option<u64>,
    qemu: Pid,
    qmp: &Qmp,
) -> Result<(), Error> {
    state.record.check(qemu, counter_khz)?;
    qmp.load_state(&state.devices(), WITHIN).await?;
    Ok(qmp.cont().await?)
}
