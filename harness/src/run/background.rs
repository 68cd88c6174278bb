//! The run on its own thread: its tests, deadlines and VMs do not wait for terminals or files, and
//! no other work delays them.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::event::Event;
use super::plan::Plan;
use super::pool;

/// A run in progress.
#[derive(Debug)]
pub struct Background {
    /// Dropped, it ends the run.
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Executes `plan`. Sends events as they happen; closes `events` after the last VM has ended.
    ///
    /// Control ports and processes belong to the current runtime, which has its own threads: it
    /// reads a guest's messages even while a test is judged.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn start(plan: Plan, events: UnboundedSender<Event>) -> io::Result<Self> {
        let runtime = Handle::current();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("run".to_owned())
            .spawn(move || {
                let set = tokio::task::LocalSet::new();
                runtime.block_on(set.run_until(async {
                    tokio::select! {
                        () = pool::run(&plan, events) => {}
                        // Dropping the pool stops every VM.
                        _ = stopped => {}
                    }
                }));
            })?;
        Ok(Self {
            stop: Some(stop),
            thread,
        })
    }

    /// Ends the run by stopping every VM. Its events give the result of each test.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits for the thread, which ends right after its last event. A panic on it continues here.
    pub fn join(mut self) {
        self.stop();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
