//! PID 1 of a kiln guest.
//!
//! It carries out the boot plan, says hello, and serves requests until it is
//! told to power off. Nothing here may panic: the death of PID 1 is a kernel
//! panic, and would hide what went wrong. Every failure is reported on the
//! control port (where that is open) and on the console, then the VM ends.

mod init;

use std::io::Write;

fn main() {
    // A panic in spite of all care still gets a readable line; the kernel's
    // own panic then ends the VM.
    std::panic::set_hook(Box::new(|info| init::console(&format!("bug: {info}"))));
    if std::process::id() != 1 {
        // Run by hand: the one thing that is useful outside a guest.
        let _ = writeln!(
            std::io::stdout(),
            "speed: {} us",
            guest_init::speed::work().as_micros()
        );
        return;
    }
    init::run();
}
