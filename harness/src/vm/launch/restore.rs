//! Restores the guest that was saved after a boot like the one that is due.

use std::sync::Arc;
use std::time::Duration;

use guest_init::message::Hello;
use tokio::time::{Instant, timeout_at};

use super::rising::Rising;
use super::{Error, Prepared};
use crate::blocking::blocking;
use crate::hint::with_causes;
use crate::vm::control::Control;
use crate::vm::machine::Vm;
use crate::vm::snapshot::{self, Snapshot, State};

/// How long it may take from QEMU's start to hello. A boot follows if it takes longer.
const WITHIN: Duration = Duration::from_secs(30);

impl Prepared {
    /// The restored VM; `None` if there is nothing to restore. A state that fails is removed.
    pub(super) async fn restored(&self) -> Option<Vm> {
        let snapshot = self.snapshot.clone()?;
        let found = blocking(move || {
            let state = snapshot.find()?;
            let console = state.console();
            Some((snapshot, Arc::new(state), console))
        });
        let (snapshot, state, console) = found.await?;
        let restored = self.restore(&snapshot, &state, &console).await;
        let (why, is_of_state) = match restored {
            Ok(Ok(vm)) => return Some(vm),
            Ok(Err(why)) => (why, true),
            Err(error) => (with_causes(&error), false),
        };
        let kernel = &self.spec.kernel.name;
        tracing::info!("{kernel} was not restored, and boots: {why}");
        if is_of_state {
            blocking(move || state.remove()).await;
        }
        None
    }

    /// The inner error may be the state's fault, the outer one is not: there is no QEMU.
    async fn restore(
        &self,
        snapshot: &Snapshot,
        state: &Arc<State>,
        console: &[u8],
    ) -> Result<Result<Vm, String>, Error> {
        let deadline = Instant::now() + WITHIN.min(self.boot_timeout);
        let memory = self.memory()?;
        let (filled, started) = tokio::join!(
            snapshot::fill(state, &memory),
            Rising::start(self, Some(&memory), Some(console)),
        );
        let mut rising = started?;
        let hello = async {
            filled.map_err(|error| with_causes(&error))?;
            self.awake(&mut rising, snapshot, state, deadline).await
        };
        let hello = timeout_at(deadline, hello).await;
        let late = || Err(format!("it took longer than {} s", WITHIN.as_secs()));
        Ok(match hello.unwrap_or_else(|_| late()) {
            Ok((control, hello)) => Ok(rising.up(control, hello, true).await),
            Err(why) => {
                rising.take_down().await;
                Err(why)
            }
        })
    }

    /// Loads the state, and lets the guest go on.
    async fn awake(
        &self,
        rising: &mut Rising,
        snapshot: &Snapshot,
        state: &State,
        deadline: Instant,
    ) -> Result<(Control, Hello), String> {
        // First: a guest that finds nobody there takes the host for gone.
        let mut control = rising.control(deadline).await?;
        let qemu = rising.qemu.pid();
        let loaded = snapshot::load(state, self.spec.counter_khz, qemu, &rising.qmp).await;
        loaded.map_err(|error| with_causes(&error))?;
        let request = snapshot
            .after_restore()
            .map_err(|error| with_causes(&error))?;
        let sent = control.send(&request).await;
        sent.map_err(|error| with_causes(&error))?;
        let hello = rising.step(control.hello(deadline), |_| false).await?;
        Ok((control, hello))
    }
}
