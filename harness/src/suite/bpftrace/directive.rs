//! The directives of a runtime test.

/// A directive: the first word of a line of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is the word in the file; the docs of the test's fields explain it.
pub enum Directive {
    Name,
    Run,
    Prog,
    Expect,
    ExpectNone,
    ExpectRegex,
    ExpectRegexNone,
    ExpectFile,
    ExpectJson,
    Timeout,
    Before,
    After,
    Setup,
    Cleanup,
    MinKernel,
    MaxKernel,
    Requires,
    RequiresFeature,
    Env,
    Arch,
    WillFail,
    ReturnCode,
    NewPidns,
    SkipIfEnvHas,
    LocalizeTimestamps,
}

impl Directive {
    /// Every directive of any dialect, in the order of their introduction.
    pub const ALL: [Self; 25] = [
        Self::Name,
        Self::Run,
        Self::Prog,
        Self::Expect,
        Self::Timeout,
        Self::Before,
        Self::After,
        Self::MinKernel,
        Self::Requires,
        Self::RequiresFeature,
        Self::Env,
        Self::Arch,
        Self::MaxKernel,
        Self::WillFail,
        Self::Cleanup,
        Self::ExpectFile,
        Self::ExpectJson,
        Self::NewPidns,
        Self::ExpectNone,
        Self::ExpectRegex,
        Self::ExpectRegexNone,
        Self::SkipIfEnvHas,
        Self::ReturnCode,
        Self::Setup,
        Self::LocalizeTimestamps,
    ];

    /// The directives up to the introduction of `newest`; none was ever removed.
    pub(super) const fn until(newest: Self) -> &'static [Self] {
        const ALL: &[Directive] = &Directive::ALL;
        let mut count = 0;
        while count < ALL.len() {
            count += 1;
            if ALL[count - 1] as u8 == newest as u8 {
                break;
            }
        }
        ALL.split_at(count).0
    }

    /// The word in the file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Run => "RUN",
            Self::Prog => "PROG",
            Self::Expect => "EXPECT",
            Self::ExpectNone => "EXPECT_NONE",
            Self::ExpectRegex => "EXPECT_REGEX",
            Self::ExpectRegexNone => "EXPECT_REGEX_NONE",
            Self::ExpectFile => "EXPECT_FILE",
            Self::ExpectJson => "EXPECT_JSON",
            Self::Timeout => "TIMEOUT",
            Self::Before => "BEFORE",
            Self::After => "AFTER",
            Self::Setup => "SETUP",
            Self::Cleanup => "CLEANUP",
            Self::MinKernel => "MIN_KERNEL",
            Self::MaxKernel => "MAX_KERNEL",
            Self::Requires => "REQUIRES",
            Self::RequiresFeature => "REQUIRES_FEATURE",
            Self::Env => "ENV",
            Self::Arch => "ARCH",
            Self::WillFail => "WILL_FAIL",
            Self::ReturnCode => "RETURN_CODE",
            Self::NewPidns => "NEW_PIDNS",
            Self::SkipIfEnvHas => "SKIP_IF_ENV_HAS",
            Self::LocalizeTimestamps => "LOCALIZE_TIMESTAMPS",
        }
    }

    /// Whether it is about the output.
    pub const fn is_expectation(self) -> bool {
        matches!(
            self,
            Self::Expect
                | Self::ExpectNone
                | Self::ExpectRegex
                | Self::ExpectRegexNone
                | Self::ExpectFile
                | Self::ExpectJson
        )
    }

    /// The directive of a word; upper and lower case differ.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.word() == word)
    }
}
