//! The lines that guest-init writes to the guest's console. Before the control port is open, they
//! are all that it can say.

/// How each begins.
const PREFIX: &str = "kiln-init: ";
/// How the last one of a guest-init that gives up goes on.
const GAVE_UP: &str = "failed to ";

/// A line.
pub fn line(text: &str) -> String {
    format!("{PREFIX}{text}")
}

/// The text of the line in which guest-init gives up.
pub fn gave_up(stage: &str, message: &str) -> String {
    format!("{GAVE_UP}{stage}: {message}")
}

/// What [`gave_up`] said on a console, if it did.
pub fn failure(console: &str) -> Option<&str> {
    console.lines().rev().find_map(|line| {
        let (_, text) = line.split_once(PREFIX)?;
        text.starts_with(GAVE_UP).then_some(text.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_console_only_the_line_that_gives_up_is_found() {
        let usual = line("a: no such device");
        let last = line(&gave_up("mount a share", "s: Invalid argument"));
        let console = format!("{usual}\n[ 1.0] {last}\r\n[ 1.1] reboot: Power down");
        let found = failure(&console);
        assert_eq!(found, Some("failed to mount a share: s: Invalid argument"));
        assert_eq!(failure(&usual), None);
        assert_eq!(failure(""), None);
    }
}
