//! Framing: how a message becomes bytes on the control port.
//!
//! A frame is a postcard encoding followed by its CRC-32 (ISO-HDLC, little endian), COBS encoded,
//! with a zero byte before and after. COBS leaves no zero inside, so a reader that meets garbage
//! resynchronises by dropping bytes up to the next zero. The CRC rejects garbage that looks like a
//! frame.

use serde::{Serialize, de::DeserializeOwned};

use crate::message::{GuestEvent, Request};

/// Largest encoded event that the host accepts, in bytes without delimiters: it limits what an
/// untrusted guest can make the host keep.
pub const MAX_EVENT: usize = 256 * 1024;

/// Largest encoded request that the guest accepts, in bytes: room for everything that execve(2)
/// takes (2 MiB), and COBS.
pub const MAX_REQUEST: usize = 2 * 1024 * 1024 + 64 * 1024;

/// Most output or input bytes that a writer puts into one message; far below [`MAX_EVENT`].
pub const MAX_DATA: usize = 64 * 1024;

/// What one side sends.
pub trait Message {
    /// Largest encoding, in bytes without delimiters.
    const MAX_FRAME: usize;
}

impl Message for GuestEvent {
    const MAX_FRAME: usize = MAX_EVENT;
}

impl Message for Request {
    const MAX_FRAME: usize = MAX_REQUEST;
}

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Why bytes are not a frame, or a message cannot be encoded as one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// More bytes than [`Message::MAX_FRAME`] without a delimiter, or a message
    /// that encodes to more.
    #[error("frame of more than {0} bytes")]
    TooLong(usize),
    /// Not COBS.
    #[error("frame is not COBS encoded")]
    Cobs,
    /// The checksum is wrong, or the frame contains no known message.
    #[error("frame holds no known message or is damaged: {0}")]
    Message(postcard::Error),
}

/// Encodes `message` as one frame, delimiters included.
pub fn encode<M: Message + Serialize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let plain = postcard::to_allocvec_crc32(message, CRC.digest()).map_err(FrameError::Message)?;
    let frame = cobs::encode_vec_including_sentinels(&plain);
    if frame.len() > M::MAX_FRAME {
        return Err(FrameError::TooLong(M::MAX_FRAME));
    }
    Ok(frame)
}

/// Finds frames in a stream of bytes that arrive in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    /// Dropping an overlong frame: everything up to the next zero byte.
    skipping: bool,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream and returns the messages that they complete, and an error
    /// for each part that is not a frame.
    pub fn push<M: Message + DeserializeOwned>(
        &mut self,
        bytes: &[u8],
    ) -> Vec<Result<M, FrameError>> {
        let mut messages = Vec::new();
        let mut parts = bytes.split(|&byte| byte == 0).peekable();
        while let Some(part) = parts.next() {
            if !self.skipping {
                self.pending.extend_from_slice(part);
                if self.pending.len() > M::MAX_FRAME {
                    messages.push(Err(FrameError::TooLong(M::MAX_FRAME)));
                    self.skipping = true;
                    self.pending = Vec::new();
                }
            }
            // Every part but the last ends with the delimiter.
            if parts.peek().is_some() {
                if !self.skipping && !self.pending.is_empty() {
                    messages.push(decode(&self.pending));
                }
                self.pending.clear();
                self.skipping = false;
            }
        }
        messages
    }
}

fn decode<M: DeserializeOwned>(frame: &[u8]) -> Result<M, FrameError> {
    let plain = cobs::decode_vec(frame).map_err(|_| FrameError::Cobs)?;
    postcard::from_bytes_crc32(&plain, CRC.digest()).map_err(FrameError::Message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::message::{ProcessSpec, Stream};
    use proptest::prelude::*;

    fn output(data: Vec<u8>) -> GuestEvent {
        GuestEvent::Output {
            process: 7,
            stream: Stream::Stdout,
            data,
        }
    }

    #[test]
    fn a_frame_is_found_after_garbage_without_a_delimiter() {
        let mut bytes = b"\xff\x01half a frame".to_vec();
        bytes.extend(encode(&output(b"x\0y".to_vec())).unwrap());
        let found: Vec<Result<GuestEvent, _>> = Decoder::new().push(&bytes);
        assert_eq!(found.len(), 2);
        assert!(found[0].is_err());
        assert_eq!(found[1], Ok(output(b"x\0y".to_vec())));
    }

    #[test]
    fn an_endless_frame_is_dropped_and_the_next_one_found() {
        let mut decoder = Decoder::new();
        let mut errors = 0;
        for _ in 0..40 {
            errors += decoder.push::<GuestEvent>(&[b'a'; 16 * 1024]).len();
        }
        assert_eq!(errors, 1, "one error for one overlong frame");
        assert!(decoder.pending.capacity() <= 2 * MAX_EVENT);
        let found = decoder.push::<GuestEvent>(&encode(&output(vec![1])).unwrap());
        assert_eq!(found, vec![Ok(output(vec![1]))]);
    }

    #[test]
    fn the_largest_data_fits_a_frame() {
        assert!(encode(&output(vec![0; MAX_DATA])).is_ok());
        assert_eq!(
            encode(&output(vec![1; MAX_EVENT])),
            Err(FrameError::TooLong(MAX_EVENT))
        );
    }

    #[test]
    fn all_the_arguments_that_linux_takes_fit_a_request() {
        let spawn = |argv| Request::Spawn {
            job: 1,
            process: 1,
            spec: ProcessSpec {
                argv,
                cwd: vec![b'/'; 4096],
                ..ProcessSpec::default()
            },
        };
        // Linux counts a NUL and a pointer for each.
        for (length, count) in [(1, 2 << 20 >> 3), (131_071, 15), (200, (2 << 20) / 209)] {
            let request = spawn(vec![vec![0xff; length]; count]);
            let found = Decoder::new().push::<Request>(&encode(&request).unwrap());
            assert_eq!(found, vec![Ok(request)]);
        }
        let beyond = spawn(vec![vec![1; 131_071]; 17]);
        assert_eq!(encode(&beyond), Err(FrameError::TooLong(MAX_REQUEST)));
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let good = encode(&output(b"verdict".to_vec())).unwrap();
        for at in 1..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            for message in Decoder::new().push::<GuestEvent>(&bad) {
                assert!(message.is_err(), "bit flip at {at} went unnoticed");
            }
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_split_between_any_garbage(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
            garbage in prop::collection::vec(1u8.., 0..40),
            cut in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                bytes.extend(&garbage);
                bytes.extend(encode(&output(payload.clone())).unwrap());
            }
            let mut decoder = Decoder::new();
            let found: Vec<GuestEvent> = bytes
                .chunks(cut)
                .flat_map(|chunk| decoder.push::<GuestEvent>(chunk))
                .filter_map(Result::ok)
                .collect();
            let sent: Vec<GuestEvent> = payloads.into_iter().map(output).collect();
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Decoder::new().push::<GuestEvent>(&bytes);
        }
    }
}
