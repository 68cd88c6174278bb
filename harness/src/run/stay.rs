//! What happens to the VM of a test that failed, before anything of it is undone: its memory is
//! written down, a shell opens in it, it is kept for a while.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::attempts::file_name;
use super::event::{Event, TestResult, Verdict, Warning, is_expected};
use crate::vm::card;
use crate::vm::dump;
use crate::vm::health::Loss;
use crate::vm::machine::VMCORE;

/// What to do with the VM of a test that failed.
#[derive(Debug, Clone, Default)]
pub struct Stay {
    /// Keep it for this time.
    pub keep: Option<Duration>,
    /// Write its memory beside its logs.
    pub dump: bool,
    /// Who opens a shell in it.
    pub visits: Option<UnboundedSender<Visit>>,
}

/// A VM that waits for a shell.
#[derive(Debug)]
pub struct Visit {
    /// Its own directory.
    pub dir: PathBuf,
    /// What happened there, for people.
    pub why: String,
    /// Dropped, it lets the run go on.
    pub over: oneshot::Sender<()>,
}

impl Stay {
    /// Whether nothing is to be done.
    fn is_nothing(&self) -> bool {
        self.keep.is_none() && !self.dump && self.visits.is_none()
    }
}

/// A test that runs, and whose VM may stay.
#[derive(Debug)]
pub(super) struct Moment {
    stay: Stay,
    /// What is known of the test before it has run.
    test: TestResult,
    /// The VM's own directory, and that of its logs.
    dir: PathBuf,
    logs: PathBuf,
    events: UnboundedSender<Event>,
    /// How long the VM stayed.
    took: Cell<Duration>,
    staying: Cell<bool>,
    gone: Notify,
}

/// Whether the VM is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Still {
    /// It is, and the run goes on in it.
    There,
    /// It ended meanwhile, by `kiln stop` or otherwise: nothing is left to undo.
    Gone,
}

impl Moment {
    /// Of a test that starts, in the VM of this directory, with its logs in another; `None` if its
    /// VM does not stay anyway.
    pub(super) fn of(
        stay: &Stay,
        test: &TestResult,
        (dir, logs): (&Path, PathBuf),
        events: &UnboundedSender<Event>,
    ) -> Option<Self> {
        (!stay.is_nothing()).then(|| Self {
            stay: stay.clone(),
            test: test.clone(),
            dir: dir.to_owned(),
            logs,
            events: events.clone(),
            took: Cell::default(),
            staying: Cell::default(),
            gone: Notify::new(),
        })
    }

    /// How long the VM stayed.
    pub(super) fn took(&self) -> Duration {
        self.took.get()
    }

    /// Ends with `lost`; but the loss of a VM that stays only ends its stay, since the test has its
    /// verdict.
    pub(super) async fn watch(moment: Option<&Self>, lost: impl Future<Output = Loss>) -> Loss {
        let loss = lost.await;
        match moment.filter(|moment| moment.staying.get()) {
            None => loss,
            Some(moment) => {
                moment.gone.notify_one();
                std::future::pending().await
            }
        }
    }

    /// Lets the VM stay if the test did not end as it should.
    pub(super) async fn after(&self, verdict: Verdict) -> Still {
        let known = self.test.known.as_ref().map(|known| known.result);
        if is_expected(verdict, known) {
            return Still::There;
        }
        let began = Instant::now();
        self.staying.set(true);
        let still = tokio::select! {
            () = self.stay(verdict) => Still::There,
            () = self.gone.notified() => Still::Gone,
        };
        self.staying.set(false);
        self.took.set(self.took.get() + began.elapsed());
        still
    }

    /// Keeps a VM whose kernel stands still, for a debugger.
    pub(super) async fn after_loss(&self) {
        if let Some(time) = self.stay.keep {
            self.keep(time).await;
        }
    }

    async fn stay(&self, verdict: Verdict) {
        let test = &self.test;
        if self.stay.dump {
            let path = self
                .logs
                .join(format!("{VMCORE}-{}", file_name(&test.id, test.attempt)));
            self.warn(dump::beside(&self.dir, &path).await);
        }
        let why = format!("{} on {}: {verdict}", test.id, test.kernel);
        if let Some(visits) = &self.stay.visits {
            let (over, left) = oneshot::channel();
            let visit = Visit {
                dir: self.dir.clone(),
                why,
                over,
            };
            if visits.send(visit).is_ok() {
                let _ = left.await;
            }
        }
        if let Some(time) = self.stay.keep {
            self.keep(time).await;
        }
    }

    /// Keeps the VM for `time`.
    async fn keep(&self, time: Duration) {
        let vm = card::id_of(&self.dir).unwrap_or_default();
        self.warn(kept(&self.test.id, &vm, time));
        tokio::time::sleep(time).await;
    }

    fn warn(&self, message: String) {
        let kernel = Some(self.test.kernel.clone());
        // Whoever no longer listens has ended the run.
        let _ = self
            .events
            .send(Event::Warning(Warning { kernel, message }));
    }
}

fn kept(id: &str, vm: &str, time: Duration) -> String {
    format!("{id} failed; its VM {vm} {}", stays(time))
}

/// How long a VM stays, and what reaches it meanwhile.
pub fn stays(time: Duration) -> String {
    format!(
        "stays for {} s: kiln ps, shell --attach, logs, gdb, dump and stop reach it",
        time.as_secs()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::run::event::{Known, KnownResult};

    fn moment(stay: &Stay, known: Option<KnownResult>) -> Option<Moment> {
        let test = serde_json::json!({
            "kernel": "6.1", "vm": 0, "suite": "s", "id": "s.a", "attempt": 1,
            "verdict": "lost", "duration_ms": 0,
        });
        let mut test: TestResult = serde_json::from_value(test).unwrap();
        test.known = known.map(|result| Known {
            result,
            reason: String::new(),
            link: None,
        });
        let places = (Path::new("/tmp/kiln-Abc"), PathBuf::from("/logs"));
        Moment::of(stay, &test, places, &unbounded_channel().0)
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_failure_keeps_a_vm_and_only_for_its_time() {
        assert!(moment(&Stay::default(), None).is_none());
        let stay = Stay {
            keep: Some(Duration::from_secs(60)),
            ..Stay::default()
        };
        let kept = moment(&stay, None).unwrap();
        assert_eq!(kept.after(Verdict::Pass).await, Still::There);
        assert_eq!(kept.took(), Duration::ZERO);
        assert_eq!(kept.after(Verdict::Fail).await, Still::There);
        assert_eq!(kept.took(), Duration::from_secs(60));
        let known = moment(&stay, Some(KnownResult::Fail)).unwrap();
        assert_eq!(known.after(Verdict::Timeout).await, Still::There);
        assert_eq!(known.took(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vm_that_ends_while_it_stays_loses_no_verdict() {
        let stay = Stay {
            keep: Some(Duration::from_secs(3600)),
            ..Stay::default()
        };
        let kept = moment(&stay, None).unwrap();
        let ends = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Loss::Stopped
        };
        tokio::select! {
            loss = Moment::watch(Some(&kept), ends) => panic!("{loss}"),
            still = kept.after(Verdict::Fail) => assert_eq!(still, Still::Gone),
        }
        assert_eq!(kept.took(), Duration::from_secs(5));
        let loss = Moment::watch(Some(&kept), async { Loss::Stopped }).await;
        assert!(matches!(loss, Loss::Stopped));
    }
}
