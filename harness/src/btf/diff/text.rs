//! Differences for people: plain, and as Markdown.

use std::fmt::Write as _;

use super::change::{Change, Class, Happened, Step};
use super::parts::{Part, PartChange, State};

/// Columns of a line; a longer declaration stands alone in its line.
const WIDTH: usize = 100;

/// The column of the place of a member.
const PLACE: usize = 64;

/// The steps as plain text.
pub fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    for (number, step) in steps.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{} to {}", step.before, step.after);
        if let Some(note) = &step.note {
            let _ = writeln!(text, "  {note}");
        }
        if let Some(reason) = &step.not_compared {
            let _ = writeln!(text, "  {reason}");
        } else if step.changes.is_empty() {
            text.push_str("  no difference\n");
        }
        for (class, changes) in by_class(&step.changes) {
            let _ = writeln!(text, "\n{}", summary(class, changes));
            for change in changes {
                lines(change, "  ", &mut text);
            }
        }
    }
    text
}

/// The steps as Markdown, for a summary or a comment.
pub fn markdown(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let _ = writeln!(text, "## {} to {}\n", step.before, step.after);
        if let Some(note) = &step.note {
            let _ = writeln!(text, "{note}\n");
        }
        if let Some(reason) = &step.not_compared {
            let _ = writeln!(text, "{reason}\n");
        } else if step.changes.is_empty() {
            text.push_str("no difference\n\n");
        }
        for (class, changes) in by_class(&step.changes) {
            let _ = writeln!(text, "### {}\n\n```diff", summary(class, changes));
            for change in changes {
                lines(change, "", &mut text);
            }
            text.push_str("```\n\n");
        }
    }
    text
}

fn by_class(changes: &[Change]) -> impl Iterator<Item = (Class, &[Change])> {
    // They are sorted by class.
    changes
        .chunk_by(|a, b| a.class == b.class)
        .filter_map(|changes| Some((changes.first()?.class, changes)))
}

fn summary(class: Class, changes: &[Change]) -> String {
    let counts = [
        (Happened::Added, "added"),
        (Happened::Removed, "removed"),
        (Happened::Changed, "changed"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .map(|(what, word)| (changes.iter().filter(|c| c.happened == *what).count(), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    format!("{}: {}", plural(class), counts.join(", "))
}

fn plural(class: Class) -> &'static str {
    match class {
        Class::Struct => "structs",
        Class::Union => "unions",
        Class::Enum => "enums",
        Class::Constant => "values of enums without a name",
        Class::Typedef => "typedefs",
        Class::Function => "functions",
        Class::Kfunc => "kfuncs",
        Class::Tracepoint => "tracepoints",
        Class::Variable => "variables",
    }
}

fn lines(change: &Change, indent: &str, text: &mut String) {
    let module = change.module.as_ref();
    let module = module.map_or_else(String::new, |module| format!("  [{module}]"));
    let (before, after) = (change.before.as_deref(), change.after.as_deref());
    match (change.happened, before, after) {
        (Happened::Changed, Some(before), Some(after)) if has_parts(change.class) => {
            // The sizes are behind the last comma.
            let size = |line: &str| line.rsplit_once(", ").map(|(_, size)| size.to_owned());
            let line = match (size(before), size(after)) {
                (Some(was), Some(is)) if was != is => {
                    format!("{after}, was {was}")
                }
                _ => after.to_owned(),
            };
            let _ = writeln!(text, "{indent}! {line}{module}");
            parts(&change.parts, &format!("{indent}    "), text);
        }
        (Happened::Changed, Some(before), Some(after)) => {
            let _ = writeln!(text, "{indent}- {before}{module}");
            let _ = writeln!(text, "{indent}+ {after}{module}");
        }
        (_, Some(line), _) => {
            let _ = writeln!(text, "{indent}- {line}{module}");
        }
        (_, None, line) => {
            let _ = writeln!(text, "{indent}+ {}{module}", line.unwrap_or(&change.name));
        }
    }
}

fn has_parts(class: Class) -> bool {
    matches!(class, Class::Struct | Class::Union | Class::Enum)
}

fn parts(parts: &[Part], indent: &str, text: &mut String) {
    let mut moved: Vec<(&str, u64, u64)> = Vec::new();
    for part in parts {
        match &part.change {
            PartChange::Added { after } => part_line(indent, '+', after, text),
            PartChange::Removed { before } => part_line(indent, '-', before, text),
            PartChange::Changed { before, after } => {
                part_line(indent, '-', before, text);
                part_line(indent, '+', after, text);
            }
            PartChange::Moved { before, after } => moved.push((&part.name, *before, *after)),
        }
    }
    // Neighbours that moved by as much moved together.
    let by = |&(_, before, after): &(&str, u64, u64)| i128::from(after) - i128::from(before);
    for together in moved.chunk_by(|a, b| by(a) == by(b)) {
        if let (Some(first), Some(last)) = (together.first(), together.last()) {
            let distance = by(first);
            let distance = if distance % 8 == 0 {
                format!("{:+} bytes", distance / 8)
            } else {
                format!("{distance:+} bits")
            };
            let names: Vec<&str> = together.iter().map(|(name, ..)| *name).collect();
            let place = if together.len() == 1 {
                format!("byte {} to {}", at(first.1), at(first.2))
            } else {
                format!(
                    "bytes {}…{} to {}…{}",
                    at(first.1),
                    at(last.1),
                    at(first.2),
                    at(last.2)
                )
            };
            let head = format!("{indent}moved {distance}, {place}: ");
            wrapped(&head, &names, &format!("{indent}      "), text);
        }
    }
}

/// `1 byte`, `12 bytes`.
pub(super) fn bytes(count: u64) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}

/// `12`, or `12.3` for bit 3 of byte 12.
fn at(bits: u64) -> String {
    match bits % 8 {
        0 => (bits / 8).to_string(),
        bit => format!("{}.{bit}", bits / 8),
    }
}

fn part_line(indent: &str, sign: char, state: &State, text: &mut String) {
    let mut line = format!("{indent}{sign} {}", state.text);
    if let Some(offset) = state.bit_offset {
        let place = match state.bits {
            Some(bits) if bits % 8 == 0 => format!("byte {}, {}", at(offset), bytes(bits / 8)),
            _ => format!("byte {}", at(offset)),
        };
        // In a column, where there is room.
        let missing = PLACE.saturating_sub(line.chars().count()).max(2);
        line.extend(std::iter::repeat_n(' ', missing));
        line.push_str(&place);
    }
    text.push_str(&line);
    text.push('\n');
}

/// Names behind `head`, in lines of [`WIDTH`] columns.
fn wrapped(head: &str, names: &[&str], indent: &str, text: &mut String) {
    let mut line = head.trim_end().to_owned();
    for (index, name) in names.iter().enumerate() {
        let comma = if index + 1 < names.len() { "," } else { "" };
        if line.chars().count() + 1 + name.chars().count() + comma.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.clear();
            // Each name brings a space.
            line.extend(std::iter::repeat_n(' ', indent.len() - 1));
        }
        let _ = write!(line, " {name}{comma}");
    }
    text.push_str(&line);
    text.push('\n');
}
