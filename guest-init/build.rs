//! Tells the build script of kiln, which builds PID 1 from this crate, where it is.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::metadata=root={}", env::var("CARGO_MANIFEST_DIR")?);
    Ok(())
}
