//! Where the output of a command in a guest goes: our own streams, or a lane beside others.

use futures::channel::mpsc;
use guest_init::message::Stream;
use tokio::io::AsyncWrite;

use super::Failure;
use super::output;

/// A piece of output on its way to one of our streams.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Which stream.
    pub(super) stream: Stream,
    /// The bytes.
    pub(super) data: Vec<u8>,
}

/// The streams of one command, and what kiln itself says about it.
pub(super) struct Streams {
    /// For the command's output.
    pub(super) stdout: Box<dyn AsyncWrite + Unpin + Send>,
    /// For its error output.
    pub(super) stderr: Box<dyn AsyncWrite + Unpin + Send>,
    /// Takes kiln's own lines if they must not overtake the output; `None` is stderr.
    notes: Option<mpsc::Sender<Chunk>>,
    /// Only what is wrong is worth a line.
    quiet: bool,
}

impl Streams {
    /// Our own stdout and stderr.
    pub(super) fn direct() -> Self {
        Self {
            stdout: Box::new(tokio::io::stdout()),
            stderr: Box::new(tokio::io::stderr()),
            notes: None,
            quiet: false,
        }
    }

    /// Streams that others write; `notes` goes to stderr.
    pub(super) fn through(
        stdout: Box<dyn AsyncWrite + Unpin + Send>,
        stderr: Box<dyn AsyncWrite + Unpin + Send>,
        notes: mpsc::Sender<Chunk>,
    ) -> Self {
        Self {
            stdout,
            stderr,
            notes: Some(notes),
            quiet: false,
        }
    }

    /// The same without [remarks](Self::remark).
    pub(super) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Whether remarks are left out.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints something that is as it should be, and good to know.
    pub(super) fn remark(&self, text: &str) {
        if self.quiet {
            tracing::info!("{text}");
        } else {
            self.note(&format!("kiln: {text}"));
        }
    }

    /// Prints a line of kiln's own to stderr. Ignores errors: if it is closed, nobody reads it.
    pub(super) fn note(&self, text: &str) {
        match &self.notes {
            None => output::note(text),
            // Each sender has a place of its own in the channel, so a new one never waits.
            Some(notes) => {
                let _ = notes.clone().try_send(Chunk {
                    stream: Stream::Stderr,
                    data: format!("{text}\n").into_bytes(),
                });
            }
        }
    }

    /// Prints a failure to stderr.
    pub(super) fn report(&self, failure: &Failure) {
        self.note(&failure.render());
    }
}
