//! `--load`: what the kernels themselves say.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::CheckArgs;
use super::on_kernel::OnKernel;
use crate::bpf::Input;
use crate::cli::Failure;
use crate::cli::context::Context;
use crate::cli::input::{self, Interrupts};
use crate::cli::scratch_dir::scratch_dir;
use crate::cli::suite_args::with_resolve_context;
use crate::config::{RunnerTable, Selected};
use crate::exit_code;
use crate::run::capacity::Jobs;
use crate::run::load::{LoadError, Loader, Request, load_all};
use crate::suite::bpftrace::{Options, UnderTest};

impl CheckArgs {
    /// Boots each kernel and loads the files there; returns the exit code of an interrupt.
    pub(super) async fn load(
        &self,
        context: &Context,
        selected: &[Selected],
        inputs: &[Input],
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
        let has_scripts = inputs.iter().any(|input| input.script().is_some());
        let bpftrace = has_scripts.then(|| self.under_test(context)).transpose()?;
        let files = self.files.iter().map(|path| context.cwd.join(path));
        let files: Vec<PathBuf> = files.collect();
        let mut visible = vec![context.cwd.clone()];
        let dirs = files.iter().filter_map(|file| file.parent());
        visible.extend(dirs.map(PathBuf::from));
        visible.extend(bpftrace.iter().flat_map(|found| found.visible.clone()));
        let env = self.vm.environment()?.into_iter().map(|(name, value)| {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            (text(name), text(value))
        });
        let env: Vec<(String, String)> = env.collect();
        let memory = |kernel: &Selected| self.vm.settings(context, kernel.name()).memory();
        let memory = selected.iter().map(memory).max().unwrap_or_default();
        let jobs = Jobs::fitting(memory, selected.len());
        let visible = &visible;
        let on_kernels = selected.iter().zip(kernels).map(|(selected, kernel)| {
            let checked = files.iter().zip(inputs).zip(&kernel.cells);
            let requests = checked.map(|((file, input), cell)| {
                Request::new(file, input, &cell.report, (&loader, bpftrace.as_ref()))
            });
            let requests: Vec<Request> = requests.collect();
            let env = &env;
            async move {
                let image = context.provide(selected).await?;
                let logs = scratch_dir()?;
                let launch = |dir: &_, logs: &_| self.vm.launch(context, image, visible, dir, logs);
                match load_all(launch, logs.path(), env, &requests).await {
                    Ok(loaded) => {
                        for (cell, loaded) in kernel.cells.iter_mut().zip(loaded) {
                            cell.loaded = Some(loaded);
                        }
                        Ok(())
                    }
                    Err(LoadError::Boot(error)) => Err(error.into()),
                    Err(LoadError::Lost(reason)) => {
                        let message = format!("lost the VM of kernel {}: {reason}", kernel.name);
                        Err(Failure::new(exit_code::VM_LOST, message))
                    }
                }
            }
        });
        let all = stream::iter(on_kernels).buffer_unordered(jobs.count);
        tokio::select! {
            done = all.try_collect::<()>() => done.map(|()| None),
            signal = interrupts.next() => Ok(Some(input::code_of(signal))),
        }
    }

    /// The bpftrace for scripts: as a run of bpftrace's tests finds it.
    fn under_test(&self, context: &Context) -> Result<UnderTest, Failure> {
        let options = Options {
            bpftrace: self.bpftrace.clone(),
            ..Options::default()
        };
        let mut suites = context.catalogue.suites.iter();
        let of_suite = suites.find_map(|suite| match &suite.runner {
            RunnerTable::BpftraceRuntime(table) => table.bpftrace.as_deref(),
            _ => None,
        });
        let stop = AtomicBool::new(false);
        with_resolve_context(context, &self.vm.root, &options, &stop, |resolve| {
            Ok(UnderTest::find(of_suite, None, resolve)?)
        })
    }
}
