//! Boots a prepared VM: its shares, QEMU, and the guest up to its hello. A guest that waits for its
//! plan is saved on its way, for the next boot like this one.

use guest_init::message::Hello;
use tokio::time::Instant;

use super::rising::Rising;
use super::{Error, Prepared};
use crate::hint::with_causes;
use crate::vm::arch::platform;
use crate::vm::control::Control;
use crate::vm::machine::{Evidence, Vm};
use crate::vm::snapshot::{self, Memory, Saved, Snapshot};

/// How often to boot a guest that finds no timer. Seen once in some 150 boots on two
/// cores with a load of 8.
const BOOTS: u32 = 4;

impl Prepared {
    /// Boots, and waits for the guest's hello. Boots again if the guest found no timer.
    pub(super) async fn boot(&self) -> Result<Vm, Error> {
        let mut left = BOOTS;
        loop {
            left = left.saturating_sub(1);
            let gives_up = if left > 0 {
                platform(self.spec.kernel.arch).has_no_timer
            } else {
                |_: &str| false
            };
            if let Some(vm) = self.boot_once(gives_up).await? {
                return Ok(vm);
            }
            tracing::info!("the guest found no timer on a busy host; booting it again");
        }
    }

    /// Boots once. `None` if the guest's console has what `gives_up` looks for: a guest without a
    /// timer may stand still before its hello.
    async fn boot_once(&self, gives_up: fn(&str) -> bool) -> Result<Option<Vm>, Error> {
        let deadline = Instant::now() + self.boot_timeout;
        let memory = match &self.snapshot {
            Some(_) => Some(self.memory()?),
            None => None,
        };
        let mut rising = Rising::start(self, memory.as_ref(), None).await?;
        let saving = self.snapshot.as_deref().zip(memory.as_ref());
        let hello = self.hello(&mut rising, saving, deadline, gives_up).await;
        if gives_up(&rising.qemu.console().text_since(0)) {
            rising.take_down().await;
            return Ok(None);
        }
        match hello {
            Ok((control, hello)) => Ok(Some(rising.up(control, hello, false).await)),
            Err(why) => {
                let Rising {
                    qemu, qmp, events, ..
                } = &mut rising;
                let evidence = Evidence::gather(qemu, qmp, events).await;
                Err(Error::Boot {
                    kernel: self.spec.kernel.name.clone(),
                    arch: self.spec.kernel.arch,
                    cpus: self.spec.cpus,
                    why: evidence.why_no_boot(why),
                    evidence: Box::new(evidence),
                })
            }
        }
    }

    /// Waits for the guest's hello, and before that for its plan, if it does.
    async fn hello(
        &self,
        rising: &mut Rising,
        saving: Option<(&Snapshot, &Memory)>,
        deadline: Instant,
        gives_up: fn(&str) -> bool,
    ) -> Result<(Control, Hello), String> {
        let mut control = rising.control(deadline).await?;
        if let Some((snapshot, memory)) = saving {
            rising.step(control.waiting(deadline), gives_up).await?;
            // One without a timer can do nothing, now or later.
            if !gives_up(&rising.qemu.console().text_since(0)) {
                self.save(snapshot, memory, rising).await?;
            }
            let sent = control.send(&snapshot.after_boot()).await;
            sent.map_err(|error| error.to_string())?;
        }
        let hello = rising.step(control.hello(deadline), gives_up).await?;
        Ok((control, hello))
    }

    async fn save(
        &self,
        snapshot: &Snapshot,
        memory: &Memory,
        rising: &Rising,
    ) -> Result<(), String> {
        let start = Instant::now();
        let console = rising.qemu.console();
        console.settled().await;
        let console = console.text_since(0);
        let vm = (memory, rising.qemu.pid());
        let (kernel, khz) = (&self.spec.kernel.name, self.spec.counter_khz);
        match snapshot::save(snapshot, khz, vm, &rising.qmp, console).await {
            Saved::Done => tracing::info!(
                "{kernel} is saved, which took {} ms: the next VM like it is restored",
                start.elapsed().as_millis()
            ),
            Saved::Not(error) => tracing::info!("{kernel} is not saved: {}", with_causes(&error)),
            Saved::Stuck(error) => {
                let why = with_causes(&error);
                return Err(format!("the guest did not go on after it was saved: {why}"));
            }
        }
        Ok(())
    }
}
