//! Starts a prepared VM: restored if it can be, and else booted.

use std::time::Duration;

use super::{Error, Prepared};
use crate::vm::machine::Vm;

/// How long a guest may take to set its clock, on a busy host.
const CLOCK_DEADLINE: Duration = Duration::from_secs(20);

impl Prepared {
    /// Starts everything, and waits until the guest has said hello and its clock is set.
    pub async fn start(self) -> Result<Vm, Error> {
        // Boxed: each is larger than all that waits for it.
        let vm = match Box::pin(self.restored()).await {
            Some(vm) => vm,
            None => Box::pin(self.boot()).await?,
        };
        Ok(on_time(vm).await)
    }
}

/// Waits until the guest's clock is set. A guest that does not answer is lost, which its user will
/// notice.
async fn on_time(vm: Vm) -> Vm {
    if !vm.control.clock_is_set(CLOCK_DEADLINE).await {
        tracing::warn!(
            "the clock of the guest of kernel {} is not set",
            vm.spec.kernel.name
        );
    }
    vm
}
