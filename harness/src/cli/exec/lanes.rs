//! The output of commands in several VMs at once, kept apart by kernel.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::StreamExt as _;
use futures::channel::mpsc;
use guest_init::message::Stream;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, Stderr, Stdout};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::streams::{Chunk, Streams};
use super::spool::Spool;

/// Pieces of output of one kernel that may wait for our streams before its command does.
const WAITING: usize = 8;
/// A line longer than this is written in pieces, each with the name before it.
const MAX_LINE: usize = 64 << 10;

/// How several kernels share our streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Each kernel's output in one piece, in the order asked for. That of the first which still
    /// runs is written as it comes; the others' waits in temporary files.
    Grouped,
    /// Lines as they come, each with the kernel's name before it, padded to this width.
    Prefixed(usize),
}

/// All lanes of one `kiln exec`.
pub(super) struct Lanes {
    layout: Layout,
    /// Index of the lane that writes: those before it have ended.
    turn: watch::Sender<usize>,
    opened: usize,
    ours: Arc<tokio::sync::Mutex<Ours<Stdout, Stderr>>>,
    pumps: JoinSet<io::Result<()>>,
}

impl Lanes {
    /// No lanes yet.
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            turn: watch::Sender::new(0),
            opened: 0,
            ours: Arc::new(tokio::sync::Mutex::new(Ours {
                stdout: tokio::io::stdout(),
                stderr: tokio::io::stderr(),
            })),
            pumps: JoinSet::new(),
        }
    }

    /// Opens the next kernel's lane. It ends when its streams are dropped.
    pub(super) fn open(&mut self, kernel: &str) -> Streams {
        let (sender, chunks) = mpsc::channel(WAITING);
        let failed = Failed::default();
        let pump = Pump {
            chunks,
            ours: Arc::clone(&self.ours),
        };
        let (layout, index, turn) = (self.layout, self.opened, self.turn.clone());
        let (name, failure) = (kernel.to_owned(), failed.clone());
        self.opened += 1;
        self.pumps.spawn(async move {
            let written = match layout {
                Layout::Grouped => pump.grouped(index, turn.subscribe()).await,
                Layout::Prefixed(width) => pump.prefixed(&format!("{name:width$} | ")).await,
            };
            turn.send_modify(|turn| *turn = (*turn).max(index + 1));
            // The command gets the error with its next output, and so does the end of all lanes.
            written.inspect_err(|error| failure.keep(again(error)))
        });
        let writer = |stream| {
            Box::new(Writer {
                stream,
                sender: sender.clone(),
                failed: failed.clone(),
            })
        };
        Streams::through(
            writer(Stream::Stdout),
            writer(Stream::Stderr),
            sender.clone(),
        )
    }

    /// Waits until all lanes have written everything; returns the first error.
    pub(super) async fn written(mut self) -> io::Result<()> {
        let mut result = Ok(());
        while let Some(pump) = self.pumps.join_next().await {
            let written = pump.unwrap_or_else(|error| Err(io::Error::other(error)));
            result = result.and(written);
        }
        result
    }
}

/// The same error for another caller.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

/// Our own streams.
struct Ours<O, E> {
    stdout: O,
    stderr: E,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Ours<O, E> {
    async fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        match chunk.stream {
            Stream::Stdout => {
                self.stdout.write_all(&chunk.data).await?;
                self.stdout.flush().await
            }
            Stream::Stderr => {
                self.stderr.write_all(&chunk.data).await?;
                self.stderr.flush().await
            }
        }
    }
}

/// Takes the output of one lane to our streams.
struct Pump<O, E> {
    chunks: mpsc::Receiver<Chunk>,
    ours: Arc<tokio::sync::Mutex<Ours<O, E>>>,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Pump<O, E> {
    async fn grouped(mut self, index: usize, mut turn: watch::Receiver<usize>) -> io::Result<()> {
        let mut spool = Spool::default();
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                () = turn_of(&mut turn, index) => break,
                chunk = self.chunks.next(), if !ended => match chunk {
                    Some(chunk) => spool.push(&chunk).await?,
                    None => ended = true,
                },
            }
        }
        let mut kept = spool.replay().await?;
        while let Some(chunk) = kept.next().await? {
            self.write(chunk).await?;
        }
        while let Some(chunk) = self.chunks.next().await {
            self.write(chunk).await?;
        }
        Ok(())
    }

    async fn prefixed(mut self, prefix: &str) -> io::Result<()> {
        let (mut stdout, mut stderr) = (Lines::new(prefix), Lines::new(prefix));
        while let Some(Chunk { stream, data }) = self.chunks.next().await {
            let lines = match stream {
                Stream::Stdout => &mut stdout,
                Stream::Stderr => &mut stderr,
            };
            let data = lines.take(&data);
            self.write(Chunk { stream, data }).await?;
        }
        for (stream, lines) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            let data = lines.rest();
            self.write(Chunk { stream, data }).await?;
        }
        Ok(())
    }

    async fn write(&self, chunk: Chunk) -> io::Result<()> {
        if chunk.data.is_empty() {
            return Ok(());
        }
        self.ours.lock().await.write(&chunk).await
    }
}

/// Waits until all lanes before this one have ended.
async fn turn_of(turn: &mut watch::Receiver<usize>, index: usize) {
    // The sender lives in the lane's own task.
    let _ = turn.wait_for(|turn| *turn >= index).await;
}

/// Puts a prefix before each line.
struct Lines<'p> {
    prefix: &'p str,
    /// The start of a line that has not ended.
    started: Vec<u8>,
}

impl<'p> Lines<'p> {
    fn new(prefix: &'p str) -> Self {
        Self {
            prefix,
            started: Vec::new(),
        }
    }

    /// The whole lines that there are now, each with the prefix.
    fn take(&mut self, data: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            self.started.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.started.len() >= MAX_LINE {
                self.end_line(&mut whole);
            }
        }
        whole
    }

    /// The last line, if it has no end.
    fn rest(mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        if !self.started.is_empty() {
            self.end_line(&mut whole);
        }
        whole
    }

    fn end_line(&mut self, whole: &mut Vec<u8>) {
        whole.extend_from_slice(self.prefix.as_bytes());
        whole.append(&mut self.started);
        if !whole.ends_with(b"\n") {
            whole.push(b'\n');
        }
    }
}

/// Why a lane can write no more.
#[derive(Debug, Clone, Default)]
struct Failed(Arc<Mutex<Option<io::Error>>>);

impl Failed {
    fn keep(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> io::Error {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// One stream of a lane.
struct Writer {
    stream: Stream,
    sender: mpsc::Sender<Chunk>,
    failed: Failed,
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let chunk = Chunk {
            stream: self.stream,
            data: bytes.to_vec(),
        };
        let sent = match ready!(self.sender.poll_ready(context)) {
            Ok(()) => self.sender.start_send(chunk),
            gone => gone,
        };
        Poll::Ready(match sent {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(self.failed.take()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    type Buffers = Arc<tokio::sync::Mutex<Ours<Vec<u8>, Vec<u8>>>>;

    fn buffers() -> Buffers {
        Arc::new(tokio::sync::Mutex::new(Ours {
            stdout: Vec::new(),
            stderr: Vec::new(),
        }))
    }

    fn pump(ours: &Buffers) -> (mpsc::Sender<Chunk>, Pump<Vec<u8>, Vec<u8>>) {
        let (sender, chunks) = mpsc::channel(WAITING);
        let ours = Arc::clone(ours);
        (sender, Pump { chunks, ours })
    }

    fn out(text: &str) -> Chunk {
        Chunk {
            stream: Stream::Stdout,
            data: text.as_bytes().to_vec(),
        }
    }

    #[tokio::test]
    async fn a_later_kernel_waits_for_its_turn_and_loses_nothing() {
        let (ours, turn) = (buffers(), watch::Sender::new(0));
        let (mut first, first_pump) = pump(&ours);
        let (mut second, second_pump) = pump(&ours);
        let later = tokio::spawn(second_pump.grouped(1, turn.subscribe()));
        for number in 0..1000 {
            futures::future::poll_fn(|context| second.poll_ready(context))
                .await
                .unwrap();
            second.start_send(out(&format!("{number}\n"))).unwrap();
        }
        drop(second);
        let earlier = tokio::spawn(first_pump.grouped(0, turn.subscribe()));
        first.try_send(out("first\n")).unwrap();
        drop(first);
        earlier.await.unwrap().unwrap();
        assert_eq!(ours.lock().await.stdout, b"first\n");
        turn.send_replace(1);
        later.await.unwrap().unwrap();
        let text = String::from_utf8(ours.lock().await.stdout.clone()).unwrap();
        let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, expected);
    }

    #[tokio::test]
    async fn each_line_has_the_name_before_it_even_one_without_an_end() {
        let ours = buffers();
        let (mut sender, pump) = pump(&ours);
        for text in ["a", "b\n\nc", "d"] {
            sender.try_send(out(text)).unwrap();
        }
        sender
            .try_send(Chunk {
                stream: Stream::Stderr,
                data: b"oops\n".to_vec(),
            })
            .unwrap();
        drop(sender);
        pump.prefixed("6.1  | ").await.unwrap();
        let ours = ours.lock().await;
        assert_eq!(ours.stdout, b"6.1  | ab\n6.1  | \n6.1  | cd\n");
        assert_eq!(ours.stderr, b"6.1  | oops\n");
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut lines = Lines::new("x| ");
        let mut written = 0;
        for _ in 0..100 {
            written += lines.take(&[b'y'; 10 << 10]).len();
            assert!(lines.started.len() < MAX_LINE);
        }
        assert!(written > 900 << 10);
    }

    #[tokio::test]
    async fn a_lane_that_cannot_be_written_tells_the_command_why() {
        let (sender, chunks) = mpsc::channel(1);
        let failed = Failed::default();
        failed.keep(io::ErrorKind::StorageFull.into());
        drop(chunks);
        let mut writer = Writer {
            stream: Stream::Stdout,
            sender,
            failed,
        };
        let first = writer.write(b"x").await.unwrap_err();
        assert_eq!(first.kind(), io::ErrorKind::StorageFull);
        let second = writer.write(b"x").await.unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::BrokenPipe);
    }
}
