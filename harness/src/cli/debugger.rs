//! Runs a debugger on our terminal.

use std::path::Path;

use tokio::process::Command;

use super::Failure;
use crate::child::Supervised;
use crate::exit_code;

/// Runs it to its end; its status is ours. Ctrl-C is its own; it has the terminal, so it stays in our
/// process group.
pub(super) async fn run(
    command: Command,
    program: &Path,
    install: &str,
    option: &str,
) -> Result<u8, Failure> {
    let status = Supervised::in_our_group(command).await.map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot run {}: {error}", program.display()),
        )
        .hint(format!("{install}, or name it with {option}"))
    })?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(exit_code::OWN_FAILURE))
}
