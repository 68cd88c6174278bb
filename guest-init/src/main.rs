//! PID 1 of a kiln guest.
//!
//! It executes the boot plan, says hello, and serves requests until the host asks it to power off.
//! Nothing here may panic: the death of PID 1 causes a kernel panic, which would hide the error. It
//! reports every failure on the console and, if it is open, on the control port; then the VM ends.

mod init;

use std::io::Write;

fn main() {
    // If it panics nevertheless, print a readable line; the kernel's own panic then ends the VM.
    std::panic::set_hook(Box::new(|info| init::console(&format!("bug: {info}"))));
    if std::process::id() != 1 {
        let mut arguments = std::env::args_os().skip(1);
        if arguments.next().is_some_and(|word| word == init::KEEP_CORE) {
            if let Err(error) = init::keep_core(arguments) {
                init::console(&format!("keep a core: {error}"));
            }
            return;
        }
        // Run by hand, it does the one thing that is useful outside a guest.
        let _ = writeln!(
            std::io::stdout(),
            "speed: {} us",
            guest_init::speed::work().as_micros()
        );
        return;
    }
    init::run();
}
