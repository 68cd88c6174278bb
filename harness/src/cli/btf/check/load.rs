//! `--load`: what the kernels themselves say.

use std::path::PathBuf;

use super::{CheckArgs, OnKernel};
use crate::cli::Failure;
use crate::cli::context::Context;
use crate::cli::input::{self, Interrupts};
use crate::cli::scratch_dir::scratch_dir;
use crate::config::Selected;
use crate::exit_code;
use crate::run::load::{LoadError, Loader, Request, load_all};

impl CheckArgs {
    /// Boots each kernel and loads the objects there; returns the exit code of an interrupt.
    pub(super) async fn load(
        &self,
        context: &Context,
        selected: &[Selected],
        kernels: &mut [OnKernel],
        interrupts: &mut Interrupts,
    ) -> Result<Option<u8>, Failure> {
        let loader = match &self.loader {
            Some(command) => Loader::parse(command).ok_or_else(|| {
                Failure::new(
                    exit_code::USAGE,
                    format!("--loader: {command:?} is no command"),
                )
            })?,
            None => Loader::default(),
        };
        let objects: Vec<PathBuf> = self
            .objects
            .iter()
            .map(|path| context.cwd.join(path))
            .collect();
        let mut visible = vec![context.cwd.clone()];
        let dirs = objects.iter().filter_map(|object| object.parent());
        visible.extend(dirs.map(PathBuf::from));
        let env = self.vm.environment()?.into_iter().map(|(name, value)| {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            (text(name), text(value))
        });
        let env: Vec<(String, String)> = env.collect();
        for (selected, kernel) in selected.iter().zip(kernels) {
            let image = context.provide(selected).await?;
            let requests = objects
                .iter()
                .zip(&kernel.cells)
                .map(|(object, cell)| Request {
                    object: object.clone(),
                    modules: cell.report.modules.clone(),
                });
            let requests: Vec<Request> = requests.collect();
            let logs = scratch_dir()?;
            let loaded = load_all(
                |dir, logs| self.vm.launch(context, image.clone(), &visible, dir, logs),
                logs.path(),
                &env,
                &loader,
                &requests,
            );
            let loaded = tokio::select! {
                loaded = loaded => loaded,
                signal = interrupts.next() => return Ok(Some(input::code_of(signal))),
            };
            match loaded {
                Ok(loaded) => {
                    for (cell, loaded) in kernel.cells.iter_mut().zip(loaded) {
                        cell.loaded = Some(loaded);
                    }
                }
                Err(LoadError::Boot(error)) => return Err(error.into()),
                Err(LoadError::Lost(reason)) => {
                    let message = format!("lost the VM of kernel {}: {reason}", kernel.name);
                    return Err(Failure::new(exit_code::VM_LOST, message));
                }
            }
        }
        Ok(None)
    }
}
