//! PID 1 of a kiln guest.

fn main() {}
