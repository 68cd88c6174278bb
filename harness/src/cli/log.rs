//! The log that `-v` and KILN_LOG show on standard error. Its own thread writes it, so that no task
//! waits for a blocked terminal.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait; more are dropped.
const WAITING: usize = 4096;
/// How long kiln waits for the last of them at its end.
const FLUSH: Duration = Duration::from_millis(500);

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where log lines go.
#[derive(Debug, Clone)]
pub(super) struct Log(SyncSender<Message>);

/// Starts logging, at the level that `-v` sets.
pub(super) fn start(verbose: u8) -> io::Result<Log> {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let variable = std::env::var("KILN_LOG").ok();
    let filter = variable
        .filter(|variable| !variable.is_empty())
        .and_then(|variable| variable.parse().ok())
        .unwrap_or_else(|| tracing_subscriber::EnvFilter::new(level));
    let (sender, messages) = mpsc::sync_channel(WAITING);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(&messages))?;
    let log = Log(sender);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log.clone())
        .with_ansi(false)
        .init();
    Ok(log)
}

fn write(messages: &Receiver<Message>) {
    for message in messages {
        match message {
            // Nobody reads a closed standard error.
            Message::Line(line) => drop(io::stderr().write_all(&line)),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

impl Log {
    /// Waits until all lines so far are written, or for [`FLUSH`].
    pub(super) fn flush(&self) {
        let (done, flushed) = mpsc::sync_channel(1);
        if self.0.try_send(Message::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH);
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(Message::Line(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
