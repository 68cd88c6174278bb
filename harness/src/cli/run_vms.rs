//! The VMs of `kiln run`: turns a kernel's name into a bootable VM during the run.

use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt as _;

use super::Failure;
use super::context::Context;
use super::say;
use super::vm_args::VmArgs;
use crate::blocking::blocking;
use crate::config::Selected;
use crate::kernel::{KernelImage, Progress};
use crate::report::Queue;
use crate::run::plan::{KernelFailure, PlannedKernel, ReadyKernel};
use crate::vm::args;
use crate::vm::launch::Prepared;

/// How the VMs of a run are made, whatever their kernel.
#[derive(Debug)]
pub(super) struct RunVms {
    pub(super) vm: VmArgs,
    /// Paths that the guest must see at the same place as the host.
    pub(super) visible: Vec<PathBuf>,
    pub(super) context: Context,
}

impl RunVms {
    /// A kernel of the plan; `shown` shows the progress of its download.
    pub(super) fn planned(
        self: &Arc<Self>,
        kernel: Selected,
        tests: Vec<usize>,
        shown: &Queue,
    ) -> PlannedKernel {
        let (vms, shown) = (Arc::clone(self), shown.clone());
        PlannedKernel {
            name: kernel.name().to_owned(),
            at_hand: self.context.is_at_hand(&kernel),
            provide: Box::new(move || {
                let (vms, kernel, shown) = (Arc::clone(&vms), kernel.clone(), shown.clone());
                async move {
                    let ready = vms.ready(&kernel, shown.progress()).await;
                    ready.map_err(|failure| KernelFailure {
                        reason: failure.message,
                        hints: failure.hints,
                    })
                }
                .boxed_local()
            }),
            tests,
        }
    }

    /// Fetches a kernel and checks that a VM can boot it.
    async fn ready(
        self: Arc<Self>,
        kernel: &Selected,
        progress: Progress,
    ) -> Result<ReadyKernel, Failure> {
        let image = self.context.provide_beside(kernel, progress).await?;
        self.check(&image).await?;
        let hashed = image.clone();
        let sha256 = blocking(move || hashed.sha256()).await?;
        Ok(ReadyKernel {
            release: image.release.clone(),
            sha256,
            launch: Box::new(move |dir, logs| {
                self.vm
                    .launch(&self.context, image.clone(), &self.visible, dir, logs)
            }),
        })
    }

    /// Resolves a VM of this kernel without starting it, so that anything missing is reported only
    /// once.
    async fn check(&self, image: &KernelImage) -> Result<Prepared, Failure> {
        let dir = super::scratch()?;
        let launch = self.vm.launch(
            &self.context,
            image.clone(),
            &self.visible,
            &dir,
            dir.path(),
        );
        Ok(launch.prepare().await?)
    }

    /// Prints QEMU's command line for each kernel.
    pub(super) async fn dry_run(&self, kernels: &[(Selected, Vec<usize>)]) -> Result<(), Failure> {
        for (kernel, _) in kernels {
            let image = self.context.provide(kernel).await?;
            let prepared = self.check(&image).await?;
            let line = args::shell_line(&args::command(&prepared.spec));
            say::print(
                "QEMU's command line",
                &format!("{}\n", line.to_string_lossy()),
            )?;
        }
        Ok(())
    }
}
