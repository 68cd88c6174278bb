//! Keeps output that waits for its turn: a little in memory, the rest in an unlinked temporary
//! file.

use std::io;

use guest_init::message::Stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, BufReader, BufWriter};

use super::super::streams::Chunk;
use crate::blocking::blocking;

/// Most commands print less than this, and need no file.
const IN_MEMORY: usize = 256 << 10;

/// Output in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
}

impl Spool {
    /// Keeps a piece.
    pub(super) async fn push(&mut self, chunk: &Chunk) -> io::Result<()> {
        let stream = match chunk.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        let length = u32::try_from(chunk.data.len()).map_err(io::Error::other)?;
        if self.file.is_none() && self.memory.len() + chunk.data.len() > IN_MEMORY {
            let file = blocking(tempfile::tempfile).await?;
            let mut file = BufWriter::new(File::from_std(file));
            file.write_all(&std::mem::take(&mut self.memory)).await?;
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_u8(stream).await?;
            file.write_u32(length).await?;
            return file.write_all(&chunk.data).await;
        }
        self.memory.push(stream);
        self.memory.extend_from_slice(&length.to_be_bytes());
        self.memory.extend_from_slice(&chunk.data);
        Ok(())
    }

    /// Everything from the start.
    pub(super) async fn replay(self) -> io::Result<Replay> {
        Ok(match self.file {
            None => Replay::Memory(io::Cursor::new(self.memory)),
            Some(mut file) => {
                file.flush().await?;
                let mut file = file.into_inner();
                file.rewind().await?;
                Replay::File(BufReader::new(file))
            }
        })
    }
}

/// Reads what a spool kept.
#[derive(Debug)]
pub(super) enum Replay {
    Memory(io::Cursor<Vec<u8>>),
    File(BufReader<File>),
}

impl Replay {
    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Chunk>> {
        match self {
            Self::Memory(memory) => read(memory).await,
            Self::File(file) => read(file).await,
        }
    }
}

async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Option<Chunk>> {
    let stream = match from.read_u8().await {
        Ok(1) => Stream::Stdout,
        Ok(_) => Stream::Stderr,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = from.read_u32().await?;
    let mut data = vec![0; length as usize];
    from.read_exact(&mut data).await?;
    Ok(Some(Chunk { stream, data }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_spool_gives_back_what_it_got_from_memory_and_from_a_file() {
        for pieces in [3, 300] {
            let mut spool = Spool::default();
            let chunk = |number: usize| Chunk {
                stream: if number.is_multiple_of(3) {
                    Stream::Stderr
                } else {
                    Stream::Stdout
                },
                data: vec![u8::try_from(number % 256).unwrap(); number * 10],
            };
            for number in 0..pieces {
                spool.push(&chunk(number)).await.unwrap();
            }
            assert_eq!(spool.file.is_some(), pieces > 100);
            let mut replay = spool.replay().await.unwrap();
            for number in 0..pieces {
                let (got, wanted) = (replay.next().await.unwrap().unwrap(), chunk(number));
                assert_eq!((got.stream, got.data), (wanted.stream, wanted.data));
            }
            assert!(replay.next().await.unwrap().is_none());
        }
    }
}
