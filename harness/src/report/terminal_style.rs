//! How the terminal report looks.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressDrawTarget};

use super::class::Class;
use super::screen;
use crate::run::event::Verdict;

/// What the report's destination can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Use colours.
    pub colours: bool,
    /// Columns; `None` if the text does not go to a terminal.
    pub width: Option<u16>,
    /// Show a line per running VM on standard error.
    pub progress: bool,
}

impl TerminalStyle {
    /// Plain text of any width.
    pub const PLAIN: Self = Self {
        colours: false,
        width: None,
        progress: false,
    };

    /// What this process's standard output and standard error can show.
    pub fn detect() -> Self {
        let out = std::io::stdout();
        let terminal = out.is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            // https://no-color.org: set and not empty means no.
            colours: terminal && !dumb && !set("NO_COLOR"),
            width: terminal
                .then(|| terminal_size::terminal_size_of(&out))
                .flatten()
                .map(|(terminal_size::Width(width), _)| width),
            progress: !dumb && std::io::stderr().is_terminal(),
        }
    }

    /// Where to draw live lines: standard error, or nowhere.
    pub fn lines(self) -> MultiProgress {
        MultiProgress::with_draw_target(if self.progress {
            screen::stderr()
        } else {
            ProgressDrawTarget::hidden()
        })
    }

    /// The verdict's word at the start of a line.
    pub(super) fn verdict(self, verdict: Verdict) -> String {
        let word = verdict.to_string().to_uppercase();
        self.paint(style_of(verdict), &word)
    }

    /// The same for the result of a test.
    pub(super) fn class(self, class: Class) -> String {
        let style = match class {
            Class::Pass => style_of(Verdict::Pass),
            Class::Flaky | Class::XPass | Class::XFail => caution(),
            Class::Fail => style_of(Verdict::Fail),
            Class::Timeout => style_of(Verdict::Timeout),
            Class::Skip => style_of(Verdict::Skip),
            Class::Lost => style_of(Verdict::Lost),
            Class::Error => style_of(Verdict::Error),
        };
        self.paint(style, &class.word().to_uppercase())
    }

    /// A word that needs a second look.
    pub(super) fn caution(self, word: &str) -> String {
        self.paint(caution(), word)
    }

    /// A heading or a mark that is not a verdict.
    pub(super) fn mark(self, word: &str) -> String {
        self.paint(Style::new().bold(), word)
    }

    fn paint(self, style: Style, word: &str) -> String {
        if self.colours {
            format!("{style}{word}{style:#}")
        } else {
            word.to_owned()
        }
    }
}

fn caution() -> Style {
    AnsiColor::Yellow.on_default().bold()
}

fn style_of(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Pass => AnsiColor::Green,
        Verdict::Skip => AnsiColor::Blue,
        Verdict::Fail | Verdict::Timeout => AnsiColor::Red,
        Verdict::Lost | Verdict::Error => AnsiColor::Magenta,
    };
    colour.on_default().bold()
}
