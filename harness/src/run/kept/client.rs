//! A client of a kept VM.

use std::io;
use std::path::Path;
use std::time::Duration;

use guest_init::frame::{self, Decoder, MAX_DATA};
use guest_init::message::Request;
use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::wire::{News, Over};
use crate::vm::control::{Control, EVENT_BACKLOG};

/// How long a keeper may take to answer: it does nothing but pass on messages.
const ANSWER: Duration = Duration::from_secs(30);
/// How long it may take to stop its VM, which is killed after ten seconds.
const STOP: Duration = Duration::from_secs(60);

/// A connection to a kept VM.
#[derive(Debug)]
pub struct Attached {
    /// As if the VM were our own. Dropping it ends what was started through it.
    pub control: Control,
    /// What the keeper says last.
    pub last: Last,
}

/// What the keeper says last.
#[derive(Debug, Clone)]
pub struct Last(watch::Receiver<Option<News>>);

impl Last {
    /// Waits until the VM is lost; returns what is known about it.
    pub async fn lost(&self) -> String {
        let mut last = self.0.clone();
        if let Ok(last) = last.wait_for(Option::is_some).await
            && let Some(News::Lost { text }) = &*last
        {
            return text.clone();
        }
        // The control port reports its end itself.
        std::future::pending().await
    }

    /// What there is to say about commands that are over, once the [`Control`] has been dropped; or
    /// what is known about a VM that was lost.
    pub async fn over(mut self) -> Result<Over, String> {
        let last = timeout(ANSWER, self.0.wait_for(Option::is_some)).await;
        match last.ok().and_then(Result::ok).as_deref() {
            Some(Some(News::Lost { text })) => Err(text.clone()),
            Some(Some(News::Over(over))) => Ok(over.clone()),
            // The command has ended, and its status is known.
            _ => Ok(Over::default()),
        }
    }
}

/// Connects to the keeper at this socket. An error means that nobody listens, or that the keeper is ending.
pub async fn connect(socket: &Path) -> io::Result<Attached> {
    let mut stream = open(socket).await?;
    let mut decoder = Decoder::new();
    let mut waiting = welcome(&mut stream, &mut decoder).await?;
    let (read, write) = stream.into_split();
    let (events, event_receiver) = mpsc::channel(EVENT_BACKLOG);
    let (last_sender, last) = watch::channel(None);
    let control = Control::with_events(write, event_receiver);
    tokio::spawn(async move {
        let mut read = read;
        loop {
            for news in waiting.drain(..) {
                match news {
                    News::Welcome => {}
                    News::Guest(event) => {
                        // Nobody listens after the command's end.
                        let _ = events.send(Ok(event)).await;
                    }
                    last => {
                        last_sender.send_replace(Some(last));
                        return;
                    }
                }
            }
            match more(&mut read, &mut decoder).await {
                Ok(news) => waiting = news,
                Err(_) => return,
            }
        }
    });
    Ok(Attached {
        control,
        last: Last(last),
    })
}

/// Ends the VM of the keeper at this socket, and waits until that is done.
pub async fn stop(socket: &Path) -> io::Result<()> {
    let mut stream = open(socket).await?;
    welcome(&mut stream, &mut Decoder::new()).await?;
    let frame = frame::encode(&Request::PowerOff).map_err(io::Error::other)?;
    stream.write_all(&frame).await?;
    let mut rest = Vec::new();
    match timeout(STOP, stream.read_to_end(&mut rest)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it has not ended after {} s", STOP.as_secs()),
        )),
    }
}

/// Connects to a socket of this user's.
async fn open(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket).await?;
    if stream.peer_cred()?.uid() == geteuid().as_raw() {
        Ok(stream)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Waits for the keeper's first message; returns what came with it.
async fn welcome(stream: &mut UnixStream, decoder: &mut Decoder) -> io::Result<Vec<News>> {
    let first = timeout(ANSWER, more(stream, decoder)).await;
    match first.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(news) if news.first() == Some(&News::Welcome) => Ok(news),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) => Err(error),
    }
}

/// The next messages; an error at the end.
async fn more(from: &mut (impl AsyncRead + Unpin), decoder: &mut Decoder) -> io::Result<Vec<News>> {
    let mut buffer = vec![0; MAX_DATA];
    loop {
        let length = match from.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => length,
        };
        let news: Vec<News> = decoder
            .push(&buffer[..length])
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?;
        if !news.is_empty() {
            return Ok(news);
        }
    }
}
