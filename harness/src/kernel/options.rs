//! The options of a kernel's configuration, as `make olddefconfig` writes them
//! (`Documentation/kbuild/kconfig.rst` of Linux 6.12).

use std::collections::HashMap;

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `y`: built in.
    Yes,
    /// `m`: a module.
    Module,
    /// A number or a text, without quotes.
    Text(String),
}

/// The options that a configuration sets; all others are off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    set: HashMap<String, Value>,
    /// The version in its title, such as `6.1.192`.
    version: Option<String>,
}

/// Why a file is not a kernel's configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OptionsError {
    /// A line that no configuration has.
    #[error("line {line} is not a line of a kernel's configuration: {text:?}")]
    Line {
        /// From 1.
        line: usize,
        /// The beginning of it.
        text: String,
    },
    /// Its end is missing.
    #[error("it is cut off after line {line}")]
    CutOff {
        /// The last line, from 1.
        line: usize,
    },
    /// It sets too little: a defconfig, or a fragment.
    #[error(
        "it sets {count} options, so it is a fragment or a defconfig and not a whole configuration"
    )]
    Fragment {
        /// How many options it sets.
        count: usize,
    },
}

impl OptionsError {
    /// The line that is to blame, from 1.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Line { line, .. } | Self::CutOff { line } => *line,
            Self::Fragment { .. } => 1,
        }
    }
}

/// The menu that ends every configuration since Linux 5.4; what follows it is not in a menu.
const LAST_MENU: &str = "# end of Kernel hacking";
/// Marks the end of any menu.
const END_OF_MENU: &str = "# end of ";
/// `make tinyconfig` sets 300, and the smallest defconfig 20.
const FEWEST: usize = 150;
/// Characters of a line to show.
const SHOWN: usize = 60;

impl Options {
    /// Reads a whole configuration.
    pub(super) fn parse(text: &str) -> Result<Self, OptionsError> {
        let options = Self::parse_part(text)?;
        let has_menus = text.lines().any(|line| line.starts_with(END_OF_MENU));
        if has_menus && !text.lines().any(|line| line.trim_end() == LAST_MENU) {
            return Err(OptionsError::CutOff {
                line: text.lines().count(),
            });
        }
        if options.set.len() < FEWEST {
            return Err(OptionsError::Fragment {
                count: options.set.len(),
            });
        }
        Ok(options)
    }

    /// Reads any part of a configuration, such as a fragment.
    pub(super) fn parse_part(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            if line.starts_with('#') {
                if options.version.is_none() {
                    options.version = title_version(line).map(str::to_owned);
                }
                continue;
            }
            let (name, value) = assignment(line).ok_or_else(|| OptionsError::Line {
                line: number + 1,
                text: line.chars().take(SHOWN).collect(),
            })?;
            match value {
                // The last line about an option counts.
                None => options.set.remove(name),
                Some(value) => options.set.insert(name.to_owned(), value),
            };
        }
        Ok(options)
    }

    /// The value of an option, without `CONFIG_`; `None` if it is off.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.set.get(name)
    }

    /// The names of all options that are set.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.set.keys().map(String::as_str)
    }

    /// The version of the kernel in the title of the file, such as `6.1.192`.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// `# Linux/x86 6.1.192 Kernel Configuration`, also with `x86_64`.
fn title_version(line: &str) -> Option<&str> {
    let title = line.strip_prefix("# Linux/")?;
    let title = title.strip_suffix(" Kernel Configuration")?;
    let version = title.split_once(' ')?.1;
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

/// Name and value of `CONFIG_NAME=VALUE`; an option may be `n` in fragments.
fn assignment(line: &str) -> Option<(&str, Option<Value>)> {
    let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let value = match value {
        "y" => Some(Value::Yes),
        "m" => Some(Value::Module),
        "n" => None,
        text if text.starts_with('"') => Some(Value::Text(unquoted(text)?)),
        number => {
            let digits = number.strip_prefix("0x").unwrap_or(number);
            let digits = digits.strip_prefix('-').unwrap_or(digits);
            let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
            is_number.then(|| Some(Value::Text(number.to_owned())))?
        }
    };
    Some((name, value))
}

/// The text between quotes, where a backslash makes the next character plain.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return None,
            c => {
                plain.push(c);
                escaped = false;
            }
        }
    }
    // Else the last quote belongs to the text.
    (text.len() >= 2 && !escaped).then_some(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// The frame of a whole configuration around these lines.
    fn whole(lines: &str) -> String {
        let mut text = "#\n# Automatically generated file; DO NOT EDIT.\n\
                        # Linux/x86 6.1.192 Kernel Configuration\n#\n"
            .to_owned();
        for number in 0..FEWEST {
            text = format!("{text}CONFIG_FILL_{number}=y\n");
        }
        format!("{text}{lines}\n# end of General setup\n{LAST_MENU}\nCONFIG_LATER=y\n")
    }

    #[test]
    fn options_are_built_in_modules_values_or_off() {
        let text = whole(
            "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_HZ=250\nCONFIG_BASE=0xffffffff81000000\n\
             CONFIG_MIN=-1\nCONFIG_LSM=\"lockdown,\\\"bpf\\\"\"\nCONFIG_9P_FS=m\r",
        );
        let options = Options::parse(&text).unwrap();
        assert_eq!(options.get("A"), Some(&Value::Yes));
        assert_eq!(options.get("LATER"), Some(&Value::Yes));
        assert_eq!(options.get("B"), Some(&Value::Module));
        assert_eq!(options.get("9P_FS"), Some(&Value::Module));
        assert_eq!(options.get("C"), None);
        assert_eq!(options.get("HZ"), Some(&Value::Text("250".to_owned())));
        assert_eq!(
            options.get("LSM"),
            Some(&Value::Text("lockdown,\"bpf\"".to_owned()))
        );
        assert_eq!(options.version(), Some("6.1.192"));
    }

    #[test]
    fn the_last_line_about_an_option_counts() {
        let options = Options::parse_part("CONFIG_A=y\nCONFIG_A=m\nCONFIG_B=y\nCONFIG_B=n\n");
        let options = options.unwrap();
        assert_eq!(options.get("A"), Some(&Value::Module));
        assert_eq!(options.get("B"), None);
    }

    #[test]
    fn what_is_no_line_of_a_configuration_is_named_with_its_number() {
        for bad in [
            "CONFIG_VIRT",
            "CONFIG_=y",
            "CONFIG_A-B=y",
            "CONFIG_A=yes",
            "CONFIG_A=",
            "CONFIG_A=\"cut",
            "CONFIG_A=\"cut\\\"",
            "CONFIG_A=\"a\"b\"",
            "CONFIG_A=\"",
            "\u{0}\u{1}",
        ] {
            let error = Options::parse(&format!("#\nCONFIG_A=y\n{bad}\n")).unwrap_err();
            assert!(
                matches!(&error, OptionsError::Line { line: 3, .. }),
                "{bad}: {error}"
            );
            assert_eq!(error.line(), 3);
        }
    }

    #[test]
    fn a_configuration_without_its_end_is_cut_off() {
        let text = whole("CONFIG_A=y");
        let cut = &text[..text.find(LAST_MENU).unwrap()];
        let error = Options::parse(cut).unwrap_err();
        assert_eq!(
            error,
            OptionsError::CutOff {
                line: cut.lines().count()
            }
        );
        // Linux before 5.4 marks no ends.
        let old: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with(END_OF_MENU))
            .collect();
        assert!(Options::parse(&old.join("\n")).is_ok());
    }

    #[test]
    fn a_fragment_is_not_a_configuration() {
        let error = Options::parse("CONFIG_A=y\nCONFIG_B=m\n").unwrap_err();
        assert_eq!(error, OptionsError::Fragment { count: 2 });
        assert!(Options::parse("").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(CONFIG_[A-Z]{1,3}=(y|m|n|\".{0,5}\"?|0x[0-9]{0,3})\n|.{0,9}\n){0,9}") {
            let _ = Options::parse(&text);
        }

        #[test]
        fn a_text_is_read_as_it_was_quoted(value in "[ -~]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let options = Options::parse_part(&format!("CONFIG_A=\"{quoted}\"\n")).unwrap();
            prop_assert_eq!(options.get("A"), Some(&Value::Text(value)));
        }
    }
}
