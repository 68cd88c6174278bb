//! A VM that the host works in: booted, measured, its kernel listened to. What
//! runs in it is others' business.

use std::path::Path;
use std::time::Duration;

use guest_init::message::Status;
use tokio::time::Instant;

use super::cores::Cores;
use super::driver::{Driver, SpawnOptions};
use super::helper::{Helped, Helper, Said};
use super::kept::Door;
use super::leftovers;
use super::settings::{KernelLog, Settings};
use super::stay::Moment;
use super::trace::{self, Tracer};
use crate::scratch::Scratch;
use crate::suite::Verdict;
use crate::vm::control::Error;
use crate::vm::extras::CORES;
use crate::vm::kernel_log::{KernelProblem, Taint};
use crate::vm::launch::{self, Launch};
use crate::vm::machine::{Evidence, Stopped, Vm};
use crate::vm::qemu::Qemu;

/// Measurements of a VM's speed. Each takes a quarter of a second under TCG.
const SPEED_SAMPLES: u32 = 3;
/// How long all of them may take: 5,000 times the reference each.
const SPEED_DEADLINE: Duration = Duration::from_secs(120);
/// Limit of a command of kiln's own, such as modprobe, in the guest's own time.
const PREPARE_LIMIT: Duration = Duration::from_secs(10);
/// How long they may take to end after that.
const PREPARE_GRACE: Duration = Duration::from_secs(1);

/// A lost VM.
pub(super) struct Lost {
    /// What happened.
    pub(super) reason: String,
    /// What is known about it.
    pub(super) evidence: Evidence,
}

/// A running VM and what is known about it.
pub(crate) struct Session {
    pub(super) vm: Vm,
    pub(super) accel_note: Option<String>,
    pub(super) qemu: Qemu,
    /// How many times slower than the reference it is.
    pub(super) factor: f64,
    /// Commands of kiln's own run without ASLR.
    pub(super) addr_no_randomize: bool,
    /// Modules that tests look for with lsmod.
    pub(super) modules: Vec<String>,
    modules_loaded: bool,
    /// Something of a test could not be undone: the next one gets another VM.
    pub(super) unclean: bool,
    /// The known taint flags of the kernel.
    taint: Taint,
    /// The test that runs, if this VM may stay after it.
    pub(super) moment: Option<Moment>,
    /// The cores of programs that crashed, if they are kept.
    pub(super) cores: Option<Cores>,
    /// Records traces, if they are asked for.
    tracer: Option<Tracer>,
    /// For `kiln shell --attach`.
    door: Option<Door>,
    /// Sockets; removed with the session.
    dir: Scratch,
}

impl Session {
    /// Boots a VM, whose `launch` gets a directory of its own and the one for its
    /// `logs`. `modules` are loaded later, when a test looks for them.
    pub(super) async fn boot(
        launch: impl FnOnce(&Scratch, &Path) -> Launch,
        logs: &Path,
        modules: Vec<String>,
    ) -> Result<Self, launch::Error> {
        let dir = Scratch::new().map_err(|source| launch::Error::Directory {
            path: std::env::temp_dir(),
            source,
        })?;
        let prepared = launch(&dir, logs).prepare().await?;
        let accel_note = prepared.accel_note.clone();
        let qemu = prepared.qemu.clone();
        let mut vm = prepared.start().await?;
        let cores = vm.spec.extras.cores.map(|_| Cores::new(logs.join(CORES)));
        let door = Door::open(&mut vm).unwrap_or_else(|error| {
            tracing::warn!("nobody can attach to this VM: {error}");
            None
        });
        Ok(Self {
            vm,
            accel_note,
            qemu,
            factor: 1.0,
            addr_no_randomize: false,
            modules,
            modules_loaded: false,
            unclean: false,
            taint: Taint::default(),
            moment: None,
            cores,
            tracer: None,
            door,
            dir,
        })
    }

    /// Prepares for traces of the tests, if they are asked for.
    pub(super) async fn prepare_trace(&mut self) -> Result<(), trace::Error> {
        self.tracer = Tracer::prepare(&mut self.vm).await?;
        Ok(())
    }

    /// Starts to record, if that is asked for.
    pub(super) async fn start_trace(&mut self) -> Result<(), Error> {
        let Some(tracer) = &self.tracer else {
            return Ok(());
        };
        match tracer.start(&mut self.vm.control).await {
            Err(trace::Error::Vm(error)) => Err(error),
            // It cannot be stopped either, which says why.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Keeps what was recorded since then under this name, and says where, or why not.
    pub(super) async fn keep_trace(&mut self, name: &str) -> Result<Option<String>, Error> {
        let Some(tracer) = &self.tracer else {
            return Ok(None);
        };
        match tracer.stop(&mut self.vm.control, name).await {
            Ok(recorded) => Ok(Some(recorded.to_string())),
            Err(trace::Error::Vm(error)) => Err(error),
            Err(other) => Ok(Some(other.to_string())),
        }
    }

    /// Its own directory.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How long it stayed after the last test.
    pub(super) fn stayed(&self) -> Duration {
        self.moment.as_ref().map(Moment::took).unwrap_or_default()
    }

    /// Measures the VM's speed, unless the user says what it is.
    pub(super) async fn measure(&mut self, settings: &Settings) -> Result<(), Error> {
        let factor = match settings.timeout_scale {
            Some(scale) => scale,
            None => self.measured().await?,
        };
        self.set_factor(factor * settings.build_scale);
        Ok(())
    }

    /// Measures the VM's speed.
    pub(super) async fn measure_speed(&mut self) -> Result<(), Error> {
        let factor = self.measured().await?;
        self.set_factor(factor);
        Ok(())
    }

    fn set_factor(&mut self, factor: f64) {
        self.factor = factor;
        self.vm.control.time.set_factor(factor);
    }

    /// How many times slower than the reference this VM is: the best of a few measurements. A
    /// single one could hit a moment in which the host was busy, and would stretch every limit of
    /// the VM's tests: 75 was seen instead of 35, and a hang of 5 s lasted for minutes.
    async fn measured(&mut self) -> Result<f64, Error> {
        let deadline = Instant::now() + SPEED_DEADLINE;
        let mut best = self.vm.control.speed_factor(deadline).await?;
        for _ in 1..SPEED_SAMPLES {
            best = best.min(self.vm.control.speed_factor(deadline).await?);
        }
        Ok(best)
    }

    /// Loads the test modules, once; returns errors.
    pub(super) async fn load_modules(
        &mut self,
        settings: &Settings,
    ) -> Result<Option<String>, Error> {
        if self.modules_loaded || self.modules.is_empty() {
            return Ok(None);
        }
        self.modules_loaded = true;
        let argv: Vec<String> = ["modprobe", "-a"]
            .into_iter()
            .map(str::to_owned)
            .chain(self.modules.iter().cloned())
            .collect();
        let (output, succeeded) = self.auxiliary(settings, &argv).await?;
        leftovers::take_stock(&mut self.vm.control).await?;
        Ok((!succeeded).then(|| format!("modprobe failed: {}", output.trim())))
    }

    /// Runs one of our own commands; false if it failed or took too long.
    pub(super) async fn auxiliary(
        &mut self,
        settings: &Settings,
        argv: &[String],
    ) -> Result<(String, bool), Error> {
        let helper = Helper {
            argv,
            env: &settings.env,
            cwd: "/",
            options: SpawnOptions {
                addr_no_randomize: self.addr_no_randomize,
                ..SpawnOptions::default()
            },
            limit: PREPARE_LIMIT,
            grace: PREPARE_GRACE,
            leaves_others: false,
        };
        let mut driver = Driver::open(&mut self.vm.control)?;
        let helped = helper.run(&mut driver).await?;
        driver.close().await?;
        let text = |said: Said| String::from_utf8_lossy(&said.output).into_owned();
        Ok(match helped {
            Helped::NotStarted(why) => (why, false),
            Helped::TooLong(said) => (text(said), false),
            Helped::Ended(status, said) => (text(said), status == Status::Exited(0)),
        })
    }

    /// What the kernel reported since the last call, if reports matter.
    pub(super) fn kernel_reports(&mut self, wanted: KernelLog) -> Vec<KernelProblem> {
        let mut reports = self.vm.console().take_reports();
        let silent = self.taint.report(self.vm.control.taint(), &reports);
        reports.extend(silent);
        match wanted {
            KernelLog::Ignore => Vec::new(),
            KernelLog::Fail | KernelLog::Warn => reports,
        }
    }

    /// Lets the VM stay after a test that failed only by what the kernel reported. The test's own
    /// traces are gone by then, but the kernel is as it was.
    pub(super) async fn stay(&mut self, verdict: Verdict) {
        let Some(moment) = &self.moment else {
            return;
        };
        let (_, lost) = self.vm.watched();
        tokio::select! {
            _ = moment.after(verdict) => {}
            _ = Moment::watch(Some(moment), lost) => {}
        }
    }

    /// Collects what is known about this lost VM and stops it.
    pub(super) async fn lost(mut self, error: &Error) -> Lost {
        // A guest that panicked stands still if gdb is to look at it; others have ended.
        if let Some(moment) = self.moment.take().filter(|_| self.vm.spec.gdb.is_some()) {
            self.door = None;
            tokio::select! {
                () = moment.after_loss() => {}
                () = self.vm.ended() => {}
            }
        }
        let evidence = self.vm.evidence().await;
        self.vm.kill().await;
        Lost {
            reason: evidence.reason(error),
            evidence,
        }
    }

    /// Stops the VM.
    pub(super) async fn stop(self) -> Stopped {
        self.vm.stop().await
    }
}
