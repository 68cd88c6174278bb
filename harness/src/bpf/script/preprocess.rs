//! Comments and the C preprocessor, whose lines bpftrace passes to clang.

use std::collections::BTreeSet;

use super::token::{is_name, string};

/// What bpftrace defines where the kernel has BTF.
const HAVE_BTF: &str = "BPFTRACE_HAVE_BTF";
/// Headers of the C library that define few types, and which of these kernels have too.
const LIBC: [(&str, &[&str]); 1] = [(
    "sys/socket.h",
    &[
        "sockaddr",
        "sockaddr_storage",
        "msghdr",
        "mmsghdr",
        "cmsghdr",
        "iovec",
        "linger",
        "ucred",
        "timespec",
        "timeval",
    ],
)];

/// A script without comments and directives.
#[derive(Debug, Default)]
pub(super) struct Preprocessed {
    /// The script, with blanks for what is left out: every place is where it was.
    pub(super) text: String,
    /// Names that stand for something else.
    pub(super) macros: BTreeSet<String>,
    /// Structs and unions of headers, where the kernel's own do not count.
    pub(super) structs: BTreeSet<String>,
    /// Whether headers, or conditions that are not known, may define any type.
    pub(super) is_opaque: bool,
}

/// Leaves out comments, and what depends on BTF that is there or not.
pub(super) fn preprocess(script: &str, has_btf: bool) -> Preprocessed {
    let bare = without_comments(script);
    let mut done = Preprocessed::default();
    // For each `#if` that is open: whether its lines count.
    let mut open: Vec<bool> = Vec::new();
    let mut goes_on = false;
    for (number, line) in bare.split_inclusive('\n').enumerate() {
        let directive = line.trim_start().strip_prefix('#');
        let is_directive = directive.is_some() || goes_on;
        let counts = open.iter().all(|counts| *counts);
        if let Some(directive) = directive.filter(|_| !goes_on) {
            let is_shebang = number == 0 && directive.starts_with('!');
            if !is_shebang {
                done.directive(directive.trim(), has_btf, counts, &mut open);
            }
        }
        goes_on = is_directive && line.trim_end().ends_with('\\');
        if is_directive || !counts {
            blank(line, &mut done.text);
        } else {
            done.text.push_str(line);
        }
    }
    done
}

impl Preprocessed {
    fn directive(&mut self, text: &str, has_btf: bool, counts: bool, open: &mut Vec<bool>) {
        let (word, rest) = text.split_at(
            text.find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(text.len()),
        );
        let rest = rest.trim();
        let name = rest.split(|c| !is_name(c)).next().unwrap_or_default();
        match word {
            "ifdef" | "ifndef" if name == HAVE_BTF => open.push(has_btf == (word == "ifdef")),
            "if" if rest == format!("defined({HAVE_BTF})") => open.push(has_btf),
            "if" if rest == format!("!defined({HAVE_BTF})") => open.push(!has_btf),
            "if" | "ifdef" | "ifndef" => {
                // Either branch may count.
                self.is_opaque |= counts;
                open.push(true);
            }
            "else" => {
                if let Some(last) = open.last_mut() {
                    *last = !*last || self.is_opaque;
                }
            }
            "elif" => {
                self.is_opaque |= counts;
                if let Some(last) = open.last_mut() {
                    *last = true;
                }
            }
            "endif" => drop(open.pop()),
            "define" if counts => drop(self.macros.insert(name.to_owned())),
            "include" if counts => {
                let header = rest.trim_matches(['<', '>', '"', ' ']);
                match LIBC.iter().find(|(known, _)| *known == header) {
                    Some((_, structs)) => {
                        self.structs.extend(structs.iter().map(ToString::to_string));
                    }
                    None => self.is_opaque = true,
                }
            }
            _ => {}
        }
    }
}

/// The script with blanks for comments.
fn without_comments(script: &str) -> String {
    let mut bare = String::with_capacity(script.len());
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        let is_comment = rest.starts_with("//") || rest.starts_with("/*");
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.find("*/").map_or(rest.len(), |at| at + 4)
        } else if first == '"' {
            string(rest)
        } else {
            first.len_utf8()
        };
        if is_comment {
            blank(&rest[..length], &mut bare);
        } else {
            bare.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    bare
}

/// Writes blanks for `text`, line ends apart.
fn blank(text: &str, to: &mut String) {
    to.extend(
        text.bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' }),
    );
}
