//! The VMs of `kiln run`: turns a kernel's name into a bootable VM during the run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt as _;

use super::Failure;
use super::context::Context;
use super::output;
use super::prepare::prepare;
use super::scratch_dir::scratch_dir;
use super::vm_args::VmArgs;
use crate::blocking::blocking;
use crate::bpf;
use crate::config::{AptSource, Selected};
use crate::hint::with_causes;
use crate::kernel::{self, KernelImage, LockedKernel, Progress};
use crate::report::Queue;
use crate::run::event::{KernelPackages, KernelReady, PackageFile};
use crate::run::plan::{FindTypes, KernelFailure, PlannedKernel, ReadyKernel};
use crate::vm::args;
use crate::vm::launch::Prepared;

/// A kernel's packages as the run's directory keeps them.
fn recorded((source, pin): (AptSource, LockedKernel)) -> KernelPackages {
    let files = pin.files.into_iter().map(|file| PackageFile {
        package: file.package,
        version: file.version,
        path: file.path,
        size: file.size,
        sha256: file.sha256,
        sha1: file.sha1,
        unlisted: file.unlisted,
    });
    KernelPackages {
        arch: pin.arch,
        suite: pin.suite,
        component: pin.component,
        mirror: source.mirror,
        files: files.collect(),
    }
}

/// Says that a kernel is not the one that the repeated run booted.
fn other_image(expected: &KernelReady, release: &str) -> String {
    let how = if expected.packages.is_some() {
        "; `kiln kernels pin --run DIR` of that run gives its own"
    } else {
        ""
    };
    format!(
        "not the image of that run: it booted {} ({}\u{2026}), this is {release}{how}",
        expected.release,
        expected.sha256.get(..12).unwrap_or_default()
    )
}

/// How the VMs of a run are made, whatever their kernel.
#[derive(Debug)]
pub(super) struct RunVms {
    pub(super) vm: VmArgs,
    /// Paths that the guest must see at the same place as the host.
    pub(super) visible: Vec<PathBuf>,
    pub(super) context: Context,
    /// Whether any test of the run needs a VM.
    pub(super) boots: bool,
    /// What booted in the run that this repeats, by kernel.
    pub(super) expected: HashMap<String, KernelReady>,
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
        let settings = self.vm.settings(&self.context, kernel.name());
        PlannedKernel {
            memory: settings.memory(),
            modules: settings.modules().to_vec(),
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
        let name = kernel.name();
        let image = self.context.provide_beside(kernel, progress).await?;
        if self.boots {
            self.check(&image).await?;
        }
        let types = self.types(kernel);
        let (hashed, context, kernel) = (image.clone(), self.context.clone(), kernel.clone());
        let (sha256, packages) = blocking(move || {
            let packages = kernel::packages_of(&context.catalogue, &kernel, &context.cache);
            Ok::<_, kernel::Error>((hashed.sha256()?, packages?))
        })
        .await?;
        let expected = self.expected.get(name);
        let other = expected.filter(|expected| expected.sha256 != sha256);
        Ok(ReadyKernel {
            release: image.release.clone(),
            note: other.map(|expected| other_image(expected, &image.release)),
            sha256,
            packages: packages.map(recorded),
            types,
            launch: Box::new(move |dir, logs| {
                self.vm
                    .launch(&self.context, image.clone(), &self.visible, dir, logs)
            }),
        })
    }

    /// Finds the types of a kernel.
    fn types(&self, kernel: &Selected) -> FindTypes {
        let (context, kernel) = (self.context.clone(), kernel.clone());
        Arc::new(move || {
            let (catalogue, cache) = (&context.catalogue, &context.cache);
            bpf::Facts::load(catalogue, &kernel, cache, &Progress::silent())
                .map_err(|error| with_causes(&error))
        })
    }

    /// Resolves a VM of this kernel without starting it, so that anything missing is reported only
    /// once.
    async fn check(&self, image: &KernelImage) -> Result<Prepared, Failure> {
        let dir = scratch_dir()?;
        let launch = self.vm.launch(
            &self.context,
            image.clone(),
            &self.visible,
            &dir,
            dir.path(),
        );
        prepare(&self.context, launch).await
    }

    /// Prints QEMU's command line for each kernel.
    pub(super) async fn dry_run(&self, kernels: &[(Selected, Vec<usize>)]) -> Result<(), Failure> {
        for (kernel, _) in kernels {
            let image = self.context.provide(kernel).await?;
            let prepared = self.check(&image).await?;
            let line = args::shell_line(&args::command(&prepared.spec));
            output::print(
                "QEMU's command line",
                &format!("{}\n", line.to_string_lossy()),
            )?;
        }
        Ok(())
    }
}
