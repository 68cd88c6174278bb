//! Splits a file's lines into blocks, one per test.
//!
//! An empty line ends a block; a `#` in column 0 starts a comment. Upstream's engine loses a block
//! before a comment at the end of the file, and merges blocks around a line of blanks; we keep both
//! and warn.

use super::problem::WarningKind;
use super::vocabulary::Word;
use super::{Directive, Vocabulary, python};

/// A line, with its number from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'t> {
    pub(super) number: usize,
    pub(super) text: &'t str,
}

/// The kind of a line that follows the directive `previous` of its block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineKind<'t> {
    /// Only white space, and not a continuation.
    Blank,
    /// More of the value of the directive before it.
    Continuation(&'t str),
    /// A word, and the rest of the line unchanged.
    Directive(&'t str, &'t str),
}

impl<'t> Line<'t> {
    /// Reads the line. `previous` is the word of the block's last directive; the engine aligns
    /// continuations by its length.
    pub(super) fn kind(self, previous: &str, vocabulary: &Vocabulary) -> LineKind<'t> {
        let continued = match Directive::from_word(previous) {
            Some(directive) => vocabulary.dialect.continued.contains(&directive),
            // Whatever it is, its value may continue like others.
            None => vocabulary.word(previous) == Word::Newer,
        };
        if continued {
            let indent = previous.len() + 1;
            if self.text.chars().take(indent).all(python::is_space) {
                let payload = self.text.char_indices().nth(indent);
                return LineKind::Continuation(payload.map_or("", |(at, _)| &self.text[at..]));
            }
        }
        let trimmed = python::strip(self.text);
        if trimmed.is_empty() {
            return LineKind::Blank;
        }
        let end = trimmed.find(python::is_space).unwrap_or(trimmed.len());
        LineKind::Directive(&trimmed[..end], python::strip(&trimmed[end..]))
    }

    fn is_blank(self) -> bool {
        self.text.chars().all(python::is_space)
    }
}

/// Splits a text, its newlines already universal, into blocks.
pub(super) fn split<'t>(
    text: &'t str,
    vocabulary: &Vocabulary,
) -> (Vec<Vec<Line<'t>>>, Vec<(usize, WarningKind)>) {
    let mut splitter = Splitter {
        vocabulary,
        blocks: Vec::new(),
        block: Vec::new(),
        previous: "",
        continued: false,
        warnings: Vec::new(),
    };
    let (text, last_line_ends) = match text.strip_suffix('\n') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let mut ends_in_comment = false;
    for (index, line) in text.split('\n').enumerate() {
        ends_in_comment = line.starts_with('#');
        if ends_in_comment {
            continue;
        }
        if line.is_empty() {
            splitter.end();
        } else {
            splitter.push(Line {
                number: index + 1,
                text: line,
            });
        }
    }
    if ends_in_comment && let Some(line) = splitter.first_line() {
        let name = splitter.name().unwrap_or_default().to_owned();
        splitter
            .warnings
            .push((line, WarningKind::LostBlock { name }));
    }
    if !last_line_ends && !ends_in_comment && splitter.continued {
        let line = text.split('\n').count();
        splitter.warnings.push((line, WarningKind::LostCharacter));
    }
    splitter.end();
    (splitter.blocks, splitter.warnings)
}

struct Splitter<'t, 'd> {
    vocabulary: &'d Vocabulary,
    blocks: Vec<Vec<Line<'t>>>,
    block: Vec<Line<'t>>,
    previous: &'t str,
    /// The last line continues a value, and adds to it.
    continued: bool,
    warnings: Vec<(usize, WarningKind)>,
}

impl<'t> Splitter<'t, '_> {
    /// The value of NAME if the block starts with it.
    fn name(&self) -> Option<&'t str> {
        let first = self.block.iter().find(|line| !line.is_blank())?;
        match first.kind("", self.vocabulary) {
            LineKind::Directive("NAME", name) => Some(name),
            _ => None,
        }
    }

    /// The number of the first line that is not blank.
    fn first_line(&self) -> Option<usize> {
        let line = self.block.iter().find(|line| !line.is_blank())?;
        Some(line.number)
    }

    fn has_name(&self, lines: &[Line<'_>]) -> bool {
        lines.iter().any(|line| {
            let kind = line.kind("", self.vocabulary);
            matches!(kind, LineKind::Directive("NAME", _))
        })
    }

    fn push(&mut self, line: Line<'t>) {
        let kind = line.kind(self.previous, self.vocabulary);
        self.continued = matches!(kind, LineKind::Continuation(more) if !more.is_empty());
        if let LineKind::Directive(word, _) = kind {
            if word == "NAME" {
                self.second_name(line.number);
            }
            self.previous = word;
        }
        self.block.push(line);
    }

    /// A second NAME starts a test, whether a line of blanks separates them or, if every test
    /// starts with its NAME, nothing does.
    fn second_name(&mut self, number: usize) {
        let mut separator = None;
        let mut rest = Vec::new();
        if self.name().is_some() {
            while let Some(blank) = self.block.pop_if(|last| last.is_blank()) {
                separator = Some(blank.number);
            }
        } else if let Some(at) = self.block.iter().rposition(|line| line.is_blank())
            && self.has_name(&self.block[..at])
        {
            rest = self.block.split_off(at + 1);
            separator = self.block.pop().map(|blank| blank.number);
        } else {
            return;
        }
        self.warnings.push(match separator {
            Some(number) => (number, WarningKind::BlankSeparator),
            None => (number, WarningKind::MissingSeparator),
        });
        self.end();
        self.block = rest;
    }

    fn end(&mut self) {
        self.previous = "";
        self.continued = false;
        let block = std::mem::take(&mut self.block);
        if block.iter().all(|line| line.is_blank()) {
            let blanks = block
                .iter()
                .map(|line| (line.number, WarningKind::BlankLine));
            self.warnings.extend(blanks);
        } else {
            self.blocks.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Dialect;
    use super::*;

    fn vocabulary(dialect: &str) -> Vocabulary {
        Vocabulary::of(Dialect::for_version(dialect).unwrap())
    }

    fn split_numbers(text: &str, dialect: &str) -> (Vec<Vec<usize>>, Vec<(usize, WarningKind)>) {
        let (blocks, warnings) = split(text, &vocabulary(dialect));
        let numbers = blocks
            .iter()
            .map(|block| block.iter().map(|line| line.number).collect())
            .collect();
        (numbers, warnings)
    }

    #[test]
    fn empty_lines_separate_and_comments_vanish() {
        let (blocks, warnings) = split_numbers("# c\n\nNAME a\n#x\nRUN b\n\n\nNAME c", "0.17");
        assert_eq!(blocks, [vec![3, 5], vec![8]]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_block_before_a_last_comment_is_kept_with_a_warning() {
        let (blocks, warnings) = split_numbers("NAME a\nRUN b\n# end\n", "0.17");
        assert_eq!(blocks, [vec![1, 2]]);
        let name = "a".to_owned();
        assert_eq!(warnings, [(1, WarningKind::LostBlock { name })]);
        let (_, warnings) = split_numbers("NAME a\nRUN b\n\n# end\n", "0.17");
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_line_of_blanks_before_a_name_separates_with_a_warning() {
        for dialect in ["0.17", "0.23"] {
            let (blocks, warnings) = split_numbers("NAME a\nEXPECT b\n  \nNAME c\n", dialect);
            assert_eq!(blocks, [vec![1, 2], vec![4]]);
            assert_eq!(warnings, [(3, WarningKind::BlankSeparator)]);
        }
    }

    #[test]
    fn a_second_name_starts_a_test_with_a_warning() {
        let (blocks, warnings) = split_numbers("NAME a\nRUN b\nNAME c\n", "0.17");
        assert_eq!(blocks, [vec![1, 2], vec![3]]);
        assert_eq!(warnings, [(3, WarningKind::MissingSeparator)]);
    }

    #[test]
    fn a_line_of_blanks_separates_tests_that_do_not_start_with_their_name() {
        let (blocks, warnings) =
            split_numbers("RUN a\nNAME a\nEXPECT b\n \nRUN b\nNAME c\n", "0.17");
        assert_eq!(blocks, [vec![1, 2, 3], vec![5, 6]]);
        assert_eq!(warnings, [(4, WarningKind::BlankSeparator)]);
    }

    #[test]
    fn lines_of_blanks_alone_are_not_a_test() {
        for dialect in ["0.17", "head"] {
            let (blocks, warnings) = split_numbers("\n  \n\nNAME a\nRUN b\n\n\t", dialect);
            assert_eq!(blocks, [vec![4, 5]]);
            let blank = |line| (line, WarningKind::BlankLine);
            assert_eq!(warnings, [blank(2), blank(7)]);
        }
    }

    #[test]
    fn a_continued_value_without_a_last_newline_is_kept_with_a_warning() {
        let (_, warnings) = split_numbers("NAME a\nPROG b\n     c", "0.23");
        assert_eq!(warnings, [(3, WarningKind::LostCharacter)]);
        for text in [
            "NAME a\nPROG b\n     c\n",
            "NAME a\nPROG b\n     ",
            "NAME a\nPROG b",
        ] {
            assert_eq!(split_numbers(text, "0.23").1, [], "{text:?}");
        }
    }

    #[test]
    fn a_continuation_is_cut_by_count_of_characters() {
        let dialect = &vocabulary("0.21");
        let line = |text| Line { number: 1, text };
        assert_eq!(
            line("\t      x ").kind("EXPECT", dialect),
            LineKind::Continuation("x ")
        );
        assert_eq!(line(" ").kind("PROG", dialect), LineKind::Continuation(""));
        assert_eq!(line("  ").kind("RUN", dialect), LineKind::Blank);
        assert_eq!(
            line("   PROG x").kind("EXPECT", dialect),
            LineKind::Directive("PROG", "x")
        );
        let old = &vocabulary("0.17");
        assert_eq!(
            line("        x").kind("EXPECT", old),
            LineKind::Directive("x", "")
        );
    }
}
