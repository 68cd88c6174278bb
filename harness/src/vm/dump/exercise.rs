//! A dump out of any bytes, for the fuzz target.

use std::fs::File;
use std::io;

use super::kdump::{Flattened, Uname, complete};

/// Puts a flattened dump together in `file` from pieces of `piece` bytes.
pub fn put_together(flattened: &[u8], piece: usize, file: &File) -> io::Result<()> {
    let mut dump = Flattened::default();
    for piece in flattened.chunks(piece.max(1)) {
        dump.put(piece, file)?;
    }
    dump.finish()
}

/// Adds to a dump what QEMU leaves out.
pub fn add_facts(file: &File) -> io::Result<()> {
    let release = "6.1.0".to_owned();
    complete(file, &Uname { release })
}
