//! The directives and features that a directory's tests may use.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::engine::{Engine, is_directive};
use super::feature::{KnownFeature, Probe};
use super::{Dialect, Directive};

/// What the first word of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// A directive of these tests.
    Known(Directive),
    /// One of a later dialect.
    TooNew(Directive),
    /// One that is newer than this kiln.
    Newer,
    /// None.
    Unknown,
}

/// What a name of `REQUIRES_FEATURE` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeatureName {
    /// A feature that can be detected.
    Known,
    /// One that is newer than this kiln.
    Newer,
    /// None.
    Unknown,
}

/// The directives and features of a directory's tests, and their dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// The dialect whose rules apply.
    pub dialect: &'static Dialect,
    directives: Vec<Directive>,
    /// Directives that the engine beside the tests knows but we do not.
    newer: BTreeSet<String>,
    /// The words of all these, for messages.
    pub(super) words: Arc<[String]>,
    pub(super) features: Arc<[KnownFeature]>,
    /// The list may be incomplete: an unknown name may be newer than kiln.
    open: bool,
}

impl Vocabulary {
    /// The vocabulary of a dialect: any other name is an error.
    pub fn of(dialect: &'static Dialect) -> Self {
        let features = dialect.features.iter().map(KnownFeature::from).collect();
        Self::new(
            dialect,
            dialect.directives.to_vec(),
            BTreeSet::new(),
            features,
        )
    }

    /// The vocabulary of a dialect that may be older than the tests: names of later dialects are
    /// known too, and any other name causes a skip.
    pub fn open(dialect: &'static Dialect) -> Self {
        let mut features: Vec<_> = dialect.features.iter().map(KnownFeature::from).collect();
        let later = Dialect::newest().features;
        add_missing(&mut features, later.iter().map(KnownFeature::from));
        Self {
            open: true,
            ..Self::new(dialect, Directive::ALL.to_vec(), BTreeSet::new(), features)
        }
    }

    /// The vocabulary of an engine and of the dialect closest to it.
    pub fn of_engine(engine: &Engine, dialect: &'static Dialect) -> Self {
        let mut directives = dialect.directives.to_vec();
        let mut newer = BTreeSet::new();
        for word in engine.directives.iter().flatten() {
            match Directive::from_word(word) {
                Some(directive) if !directives.contains(&directive) => directives.push(directive),
                Some(_) => {}
                None => {
                    newer.insert(word.clone());
                }
            }
        }
        let mut features = engine.features.clone().unwrap_or_default();
        add_missing(
            &mut features,
            dialect.features.iter().map(KnownFeature::from),
        );
        Self {
            open: engine.directives.is_none() || engine.features.is_none(),
            ..Self::new(dialect, directives, newer, features)
        }
    }

    fn new(
        dialect: &'static Dialect,
        directives: Vec<Directive>,
        newer: BTreeSet<String>,
        features: Vec<KnownFeature>,
    ) -> Self {
        let words = directives
            .iter()
            .map(|directive| directive.word().to_owned());
        Self {
            dialect,
            words: words.chain(newer.iter().cloned()).collect(),
            directives,
            newer,
            features: features.into(),
            open: false,
        }
    }

    /// What the first word of a line is.
    pub(super) fn word(&self, word: &str) -> Word {
        match Directive::from_word(word) {
            Some(directive) if self.directives.contains(&directive) => Word::Known(directive),
            Some(directive) => Word::TooNew(directive),
            None if self.newer.contains(word) || self.open && is_directive(word) => Word::Newer,
            None => Word::Unknown,
        }
    }

    /// What a name of `REQUIRES_FEATURE` is.
    pub(super) fn feature(&self, name: &str) -> FeatureName {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_:-.".contains(c);
        match self.features.iter().find(|known| known.name == name) {
            Some(known) if known.probe == Probe::Unreadable => FeatureName::Newer,
            Some(_) => FeatureName::Known,
            None if self.open && !name.is_empty() && name.chars().all(plain) => FeatureName::Newer,
            None => FeatureName::Unknown,
        }
    }
}

fn add_missing(features: &mut Vec<KnownFeature>, more: impl Iterator<Item = KnownFeature>) {
    for feature in more {
        if !features.iter().any(|known| known.name == feature.name) {
            features.push(feature);
        }
    }
}
