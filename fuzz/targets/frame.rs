//! Bytes from the other side of the control port, in two pieces: no panic, no
//! endless memory, and a frame after the garbage is found.
#![no_main]

use guest_init::frame::{self, Decoder, MAX_FRAME};
use guest_init::message::{Event, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u16)| {
    let (bytes, cut) = input;
    let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let mut decoder = Decoder::new();
    let mut events = decoder.push::<Event>(first);
    events.extend(decoder.push::<Event>(second));
    for event in events.into_iter().flatten() {
        // What was decoded can be encoded, and comes back the same.
        let encoded = frame::encode(&event).unwrap();
        assert!(encoded.len() <= MAX_FRAME + 2);
        assert_eq!(Decoder::new().push::<Event>(&encoded), [Ok(event)]);
    }
    let mut decoder = Decoder::new();
    let _ = decoder.push::<Request>(bytes);
    let request = frame::encode(&Request::PowerOff).unwrap();
    let found = decoder.push::<Request>(&request);
    assert_eq!(found.last(), Some(&Ok(Request::PowerOff)));
});
