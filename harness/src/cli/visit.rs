//! A shell in the VM of a test that failed, while its run goes on.

use super::input::Interrupts;
use super::{attach, output};
use crate::report::{Queue, escape};
use crate::run::command::Environment;
use crate::run::stay::Visit;
use crate::vm::card;

/// Opens a shell in the VM of a test that failed, on the terminal that `shown` lends; the run goes on
/// afterwards.
pub(super) async fn visit(
    visit: Visit,
    shown: &Queue,
    env: Environment,
    interrupts: &mut Interrupts,
) {
    let Visit { dir, why, over } = visit;
    let _lent = shown.lend().await;
    // It may have ended meanwhile.
    let Some(vm) = card::of(&dir) else {
        return;
    };
    output::note(&format!(
        "kiln: {}; a shell in its VM {}, leave it to go on",
        escape::line(&why),
        vm.id
    ));
    let shell = attach::Shell {
        env,
        ..attach::Shell::default()
    };
    if let Err(failure) = attach::to(&vm, shell, interrupts).await {
        output::note(&failure.render());
    }
    drop(over);
}
