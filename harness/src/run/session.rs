//! A VM that runs one test after the other.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::driver::Driver;
use super::plan::{Plan, PlannedKernel, needs_modules};
use super::runtime_test::{Executed, Place, execute};
use crate::suite::bpftrace::{
    FeatureCheck, Features, Job, JobContext, Judgement, SkipReason, judge, precheck,
};
use crate::vm::control::Error;
use crate::vm::launch;
use crate::vm::machine::{Evidence, Vm};

/// How long the speed measurement may take: 10,000 times the reference.
const SPEED_DEADLINE: Duration = Duration::from_secs(120);
/// Limit of `bpftrace --info` and modprobe, before scaling.
const PREPARE_LIMIT: Duration = Duration::from_secs(10);

/// A lost VM.
pub(super) struct Lost {
    /// What happened.
    pub(super) reason: String,
    /// What is known about it.
    pub(super) evidence: Evidence,
}

/// What came of a test.
pub(super) struct Report {
    pub(super) judgement: Judgement,
    pub(super) output: Vec<u8>,
    pub(super) notes: Vec<String>,
}

impl Report {
    fn without_run(judgement: Judgement) -> Self {
        Self {
            judgement,
            output: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// A running VM and what is known of it.
pub(super) struct Session {
    pub(super) vm: Vm,
    pub(super) accel_note: Option<String>,
    pub(super) qemu_version: String,
    /// Time limits are multiplied by this.
    pub(super) factor: f64,
    /// What bpftrace says of this kernel.
    features: Option<Features>,
    modules_loaded: bool,
    /// Sockets; goes with the session.
    _dir: TempDir,
}

impl Session {
    /// Boots a VM.
    pub(super) async fn boot(
        plan: &Plan,
        kernel: &PlannedKernel,
        vm: u32,
    ) -> Result<Self, launch::Error> {
        let dir = tempfile::Builder::new()
            .prefix("kiln-")
            .tempdir()
            .map_err(|source| launch::Error::Directory {
                path: std::env::temp_dir(),
                source,
            })?;
        let name = kernel.name.replace(['/', '.'], "_");
        let logs = plan.logs.join(name).join(format!("vm-{vm}"));
        let prepared = (kernel.launch)(dir.path(), &logs).prepare().await?;
        let accel_note = prepared.accel_note.clone();
        let qemu_version = prepared.qemu.full_version.clone();
        Ok(Self {
            vm: prepared.start().await?,
            accel_note,
            qemu_version,
            factor: 1.0,
            features: None,
            modules_loaded: false,
            _dir: dir,
        })
    }

    /// Measures the VM's speed and asks bpftrace for its features. Returns
    /// what is worth a warning.
    pub(super) async fn prepare(&mut self, plan: &Plan) -> Result<Vec<String>, Error> {
        let measured = self
            .vm
            .control
            .speed_factor(Instant::now() + SPEED_DEADLINE)
            .await?;
        self.factor = plan.timeout_scale.unwrap_or(measured);
        let mut warnings = Vec::new();
        if plan.tests.iter().any(|test| !test.features.is_empty()) {
            let bpftrace = plan.bpftrace.to_string_lossy().into_owned();
            let argv = [bpftrace.clone(), "--info".to_owned()];
            let (info, succeeded) = self.auxiliary(plan, &argv).await?;
            if !succeeded {
                warnings.push(format!("`{bpftrace} --info` failed: {}", info.trim()));
            }
            self.features = Some(Features::parse(&info, plan.dialect, None));
        }
        Ok(warnings)
    }

    /// Runs one test and judges it. An error means that the VM is lost.
    pub(super) async fn test(&mut self, plan: &Plan, index: usize) -> Result<Report, Error> {
        let test = &plan.tests[index];
        let env = |name: &str| std::env::var(name).ok();
        match precheck(test, &self.vm.hello.release, env) {
            Ok(None) => {}
            Ok(Some(reason)) => return Ok(Report::without_run(Judgement::skip(&reason))),
            Err(error) => return Ok(Report::without_run(Judgement::error(error.to_string()))),
        }
        if let Some(features) = &self.features {
            match features.check(&test.features, plan.compat) {
                FeatureCheck::Met => {}
                FeatureCheck::Missing(names) => {
                    let reason = SkipReason::Features(names);
                    return Ok(Report::without_run(Judgement::skip(&reason)));
                }
                FeatureCheck::Unknown(names) => {
                    let reason = SkipReason::UnknownFeatures(names);
                    let mut report = Report::without_run(Judgement::skip(&reason));
                    report.notes.push(reason.to_string());
                    return Ok(report);
                }
            }
        }
        let mut notes = Vec::new();
        if needs_modules(test) && !self.modules_loaded && !plan.modules.is_empty() {
            self.modules_loaded = true;
            let argv: Vec<String> = ["modprobe", "-a"]
                .into_iter()
                .map(str::to_owned)
                .chain(plan.modules.iter().cloned())
                .collect();
            let (output, succeeded) = self.auxiliary(plan, &argv).await?;
            if !succeeded {
                notes.push(format!("modprobe failed: {}", output.trim()));
            }
        }
        let bpftrace = plan.bpftrace.to_string_lossy();
        let context = JobContext {
            bpftrace: &bpftrace,
            env: &plan.env,
        };
        let job = Job::new(test, plan.dialect, &context);
        let cwd = plan.tests_dir.to_string_lossy();
        let place = Place {
            cwd: &cwd,
            factor: self.factor,
            compat: plan.compat,
        };
        let Executed {
            observation,
            notes: more,
        } = {
            let (control, share_lost) = self.vm.watched();
            tokio::select! {
                executed = execute(control, &job, &place) => executed?,
                error = share_lost => return Err(Error::Share(error.to_string())),
            }
        };
        notes.extend(more);
        Ok(Report {
            judgement: judge(test, plan.dialect, &plan.tests_dir, &observation),
            output: observation.output,
            notes,
        })
    }

    /// A command of ours, with its output; false if it failed or took too long.
    async fn auxiliary(&mut self, plan: &Plan, argv: &[String]) -> Result<(String, bool), Error> {
        let mut driver = Driver::open(&mut self.vm.control).await?;
        let process = driver.spawn(argv, &plan.env, "/").await?;
        let deadline = Instant::now() + PREPARE_LIMIT.mul_f64(self.factor);
        let ended = driver
            .until(deadline, |driver| driver.process(process).drained())
            .await?;
        let state = driver.process(process);
        let text = match &state.failure {
            Some(failure) => failure.clone(),
            None => String::from_utf8_lossy(&state.output).into_owned(),
        };
        let succeeded = ended
            && state
                .outcome
                .is_some_and(|outcome| outcome.status == guest_init::message::Status::Exited(0));
        driver.close().await?;
        Ok((text, succeeded))
    }

    /// Gathers what is known of this lost VM and takes it down.
    pub(super) async fn lost(mut self, reason: String) -> Lost {
        let evidence = self.vm.evidence().await;
        self.vm.kill().await;
        Lost { reason, evidence }
    }

    /// Takes the VM down.
    pub(super) async fn stop(self) {
        self.vm.stop().await;
    }
}
