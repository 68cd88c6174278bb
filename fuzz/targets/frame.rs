//! Bytes from the other side of the control port, in two pieces: no panic, limited memory, and a
//! frame after garbage is found.
//!
//! The first byte says what the others are: the stream itself, or the content of a complete frame.
//! Random streams almost never have a correct checksum.
#![no_main]

use std::fmt::Debug;

use guest_init::frame::{self, Decoder, MAX_REQUEST, Message};
use guest_init::message::{GuestEvent, Request};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeTuple, Serializer};

/// The bytes themselves, without a length: possibly a message encoded by postcard.
struct Plain<'a>(&'a [u8]);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for byte in self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl Message for Plain<'_> {
    const MAX_FRAME: usize = MAX_REQUEST;
}

/// What was decoded can be encoded, and comes back the same.
fn read<M>(stream: &[u8], cut: u16)
where
    M: Message + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let (first, second) = stream.split_at(usize::from(cut).min(stream.len()));
    let mut decoder = Decoder::new();
    let mut messages = decoder.push::<M>(first);
    messages.extend(decoder.push::<M>(second));
    for message in messages.into_iter().flatten() {
        let encoded = frame::encode(&message).unwrap();
        assert!(encoded.len() <= M::MAX_FRAME);
        assert_eq!(Decoder::new().push::<M>(&encoded), [Ok(message)]);
    }
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (kind, cut, bytes) = input;
    let framed;
    let stream = if kind & 1 == 0 {
        bytes
    } else {
        framed = frame::encode(&Plain(bytes)).unwrap();
        &framed
    };
    if kind & 2 == 0 {
        read::<GuestEvent>(stream, cut);
    } else {
        read::<Request>(stream, cut);
    }
    let mut decoder = Decoder::new();
    let _ = decoder.push::<Request>(stream);
    let request = frame::encode(&Request::PowerOff).unwrap();
    let found = decoder.push::<Request>(&request);
    assert_eq!(found.last(), Some(&Ok(Request::PowerOff)));
});
