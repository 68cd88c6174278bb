//! `kiln --version --verbose`: what is in this program.

use std::ffi::OsString;

use guest_init::message::PROTOCOL_VERSION;

use crate::arch::Arch;
use crate::guest::init;

/// Whether the arguments ask for more than the version.
pub(super) fn is_verbose(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let mut arguments = arguments.into_iter().skip(1);
    arguments.any(|argument| {
        let argument = argument.to_string_lossy();
        let short = argument
            .strip_prefix('-')
            .filter(|letters| !letters.starts_with('-'));
        argument == "--verbose" || short.is_some_and(|letters| letters.contains('v'))
    })
}

/// Version and contents, a line each.
pub(super) fn text() -> String {
    let linked = if cfg!(target_feature = "crt-static") {
        "statically"
    } else {
        "dynamically"
    };
    let mut lines = vec![
        format!("kiln {}", env!("CARGO_PKG_VERSION")),
        format!("built for {}, linked {linked}", env!("KILN_TARGET")),
    ];
    lines.extend(Arch::ALL.map(|arch| {
        format!(
            "guest-init for {}: {} bytes, protocol {PROTOCOL_VERSION}",
            arch.machine(),
            init::of(arch).len()
        )
    }));
    lines.push(format!(
        "shares: virtiofsd {}, with seccomp",
        env!("KILN_VIRTIOFSD")
    ));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbose_may_come_before_or_after_and_short() {
        let asked = |line: &str| is_verbose(line.split(' ').map(OsString::from));
        assert!(asked("kiln --version --verbose"));
        assert!(asked("kiln -v --version"));
        assert!(asked("kiln -vV"));
        assert!(!asked("kiln --version"));
        assert!(!asked("kiln -V"));
    }

    #[test]
    fn what_is_inside_has_versions() {
        let text = text();
        assert!(text.contains("virtiofsd 1."), "{text}");
        assert!(
            text.contains(&format!("protocol {PROTOCOL_VERSION}")),
            "{text}"
        );
        assert!(text.contains("-linux-"), "{text}");
    }
}
