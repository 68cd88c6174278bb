//! The last checks of a VM before it starts.

use super::Failure;
use super::context::Context;
use crate::blocking::blocking;
use crate::exit_code;
use crate::kernel::KernelImage;
use crate::kernel::facts::{Facts, Presence};
use crate::vm::launch::{Launch, Prepared};

/// Resolves a VM without starting it. What is missing is an error.
pub(super) async fn prepare(context: &Context, launch: Launch) -> Result<Prepared, Failure> {
    check_modules(context, &launch.config.kernel).await?;
    Ok(launch.prepare().await?)
}

/// Finds modules that `kernels.toml` names for this kernel alone, and that it lacks. Those of
/// `[defaults]` are for many kernels, and not every one has to have them.
async fn check_modules(context: &Context, image: &KernelImage) -> Result<(), Failure> {
    let kernel = context.catalogue.kernel(&image.name);
    let Some(asked) = kernel.and_then(|kernel| kernel.settings.modules.clone()) else {
        return Ok(());
    };
    let image = image.clone();
    let facts = blocking(move || Facts::of(&image)).await?;
    let lacks = |name: &&String| {
        let presence = facts.module(name);
        matches!(presence, Presence::Missing | Presence::ModuleNotThere)
    };
    let missing: Vec<&str> = asked
        .value
        .iter()
        .filter(lacks)
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        exit_code::SETUP_FAILED,
        format!(
            "{} asks for modules that the kernel does not have: {}",
            asked.by,
            missing.join(", ")
        ),
    )
    .hint("take them out, or install them among the kernel's modules"))
}
