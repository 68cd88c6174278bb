//! What differs in the configurations of two kernels.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::options::{Options, Value};
use super::wants;

/// An option that two kernels do not have alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedOption {
    /// Its name, with `CONFIG_`.
    pub option: String,
    /// In the first kernel: `y`, `m`, `n` or a value.
    pub before: String,
    /// In the second.
    pub after: String,
    /// What it means for kiln, bpftrace or its tests, where it matters to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matters: Option<&'static str>,
}

/// What differs from the configuration in one file to that in another, what matters to bpftrace
/// first; `None` if one of them is not a configuration.
pub fn changed_options(before: &Path, after: &Path) -> Option<Vec<ChangedOption>> {
    let read = |path: &Path| Options::parse(&std::fs::read_to_string(path).ok()?).ok();
    Some(between(&read(before)?, &read(after)?))
}

fn between(before: &Options, after: &Options) -> Vec<ChangedOption> {
    let names: BTreeSet<&str> = before.names().chain(after.names()).collect();
    let mut changed: Vec<ChangedOption> = names
        .into_iter()
        .filter(|name| before.get(name) != after.get(name))
        .map(|name| ChangedOption {
            option: format!("CONFIG_{name}"),
            before: shown(before.get(name)),
            after: shown(after.get(name)),
            matters: wants::of(name).map(|want| want.cost),
        })
        .collect();
    changed.sort_by_key(|option| option.matters.is_none());
    changed
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "n".to_owned(),
        Some(Value::Yes) => "y".to_owned(),
        Some(Value::Module) => "m".to_owned(),
        Some(Value::Text(text)) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn options_that_matter_come_first_and_equal_ones_do_not_come() {
        let parse = |text: &str| Options::parse_part(text).unwrap();
        let before = parse("CONFIG_A=y\nCONFIG_HZ=250\nCONFIG_SAME=m\n");
        let after = parse("CONFIG_A=m\nCONFIG_HZ=1000\nCONFIG_SAME=m\nCONFIG_KPROBES=y\n");
        let changed = between(&before, &after);
        let lines: Vec<String> = changed
            .iter()
            .map(|one| format!("{} {} {}", one.option, one.before, one.after))
            .collect();
        assert_eq!(
            lines,
            ["CONFIG_KPROBES n y", "CONFIG_A y m", "CONFIG_HZ 250 1000"]
        );
        assert!(changed[0].matters.is_some() && changed[1].matters.is_none());
    }
}
