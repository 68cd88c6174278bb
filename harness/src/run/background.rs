//! The run on a thread of its own: its tests, deadlines and VMs wait for no
//! terminal and no file, and nobody else's work delays them.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::event::Event;
use super::plan::Plan;
use super::pool;

/// A run that goes on.
#[derive(Debug)]
pub struct Background {
    /// Dropped, it ends the run.
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

impl Background {
    /// Carries `plan` out. Events come as they happen; `events` is closed once
    /// the last VM is gone.
    ///
    /// Control ports and processes are the current runtime's, which has threads
    /// of its own: what a guest says is taken in while a test is judged.
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
                        // Dropping the pool takes every VM down.
                        _ = stopped => {}
                    }
                }));
            })?;
        Ok(Self {
            stop: Some(stop),
            thread,
        })
    }

    /// Ends the run: takes every VM down. Its events say what came of each test.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits for the thread, which ends right after its events have. A panic on
    /// it goes on here.
    pub fn join(mut self) {
        self.stop();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
