//! `[ci.NAME]`: a profile of `kiln ci`, so that a job of a CI is one name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::check::Checker;

/// A sanitizer to build with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sanitizer {
    /// Memory errors
    Address,
    /// Undefined behaviour
    Undefined,
}

/// `[ci.NAME]`: options of `kiln ci` by their names there. What the command line says comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CiProfile {
    /// The name in the file.
    pub name: String,
    /// Line of the profile in the file, from 1.
    pub line: usize,
    /// What it is for, in a few words.
    pub about: String,
    /// Version of LLVM.
    pub llvm: Option<u16>,
    /// The development shell, by its name in the flake.
    pub shell: Option<String>,
    /// Kernels, as for `-k`; empty means the default ones.
    pub kernels: Vec<String>,
    /// `CMAKE_BUILD_TYPE`.
    pub build_type: Option<String>,
    /// The C compiler.
    pub cc: Option<String>,
    /// The C++ compiler.
    pub cxx: Option<String>,
    /// Sanitizers to build with.
    pub sanitizers: Vec<Sanitizer>,
    /// Variables of cmake, `NAME=VALUE`.
    pub defines: Vec<String>,
    /// Targets of cmake to build; empty means all.
    pub targets: Vec<String>,
    /// Filters for the runtime tests, as for `-t`.
    pub filters: Vec<String>,
    /// The list of AOT tests; relative to the sources of bpftrace.
    pub aot_allowlist: Option<PathBuf>,
    /// Variables that commands see.
    pub env: BTreeMap<String, String>,
    /// Only these steps, by name; empty means all.
    pub only: Vec<String>,
    /// Without these steps, by name.
    pub skip: Vec<String>,
}

/// `[ci.NAME]` as in the file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawProfile {
    about: String,
    llvm: Option<Spanned<u16>>,
    shell: Option<Spanned<String>>,
    kernels: Vec<String>,
    build_type: Option<String>,
    cc: Option<String>,
    cxx: Option<String>,
    sanitizers: Vec<Sanitizer>,
    defines: Vec<String>,
    targets: Vec<String>,
    filters: Vec<String>,
    aot_allowlist: Option<PathBuf>,
    env: BTreeMap<String, String>,
    only: Vec<String>,
    skip: Vec<String>,
}

impl Checker<'_> {
    pub(super) fn ci_profile(&mut self, name: &Spanned<String>, raw: RawProfile) -> CiProfile {
        self.name("ci profile", name);
        let label = format!("ci profile \"{}\"", name.get_ref());
        if let (Some(_), Some(shell)) = (&raw.llvm, &raw.shell) {
            self.problem(
                &shell.span(),
                format!("{label} has both llvm and shell; allowed: one of them"),
            );
        }
        CiProfile {
            name: name.get_ref().clone(),
            line: self.line(&name.span()),
            about: raw.about,
            llvm: raw.llvm.map(Spanned::into_inner),
            shell: raw.shell.map(Spanned::into_inner),
            kernels: raw.kernels,
            build_type: raw.build_type,
            cc: raw.cc,
            cxx: raw.cxx,
            sanitizers: raw.sanitizers,
            defines: raw.defines,
            targets: raw.targets,
            filters: raw.filters,
            aot_allowlist: raw.aot_allowlist,
            env: raw.env,
            only: raw.only,
            skip: raw.skip,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{Catalogue, Origin};

    fn parse(text: &str) -> Result<Catalogue, Vec<String>> {
        let origin = Origin::File("/k/kernels.toml".into());
        Catalogue::parse(text, origin)
            .map_err(|error| error.to_string().lines().map(str::to_owned).collect())
    }

    #[test]
    fn a_profile_has_the_options_of_kiln_ci() {
        let text = "[ci.sanitizers]\nllvm = 22\nbuild-type = \"Debug\"\nkernels = [\"6.1\"]\n\
                    sanitizers = [\"address\", \"undefined\"]\nenv = { A = \"b\" }\n\
                    skip = [\"aot\"]\n[ci.other]\n";
        let catalogue = parse(text).unwrap();
        let names: Vec<_> = catalogue.ci.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["sanitizers", "other"]);
        let profile = &catalogue.ci[0];
        assert_eq!(profile.llvm, Some(22));
        assert_eq!(
            profile.sanitizers,
            [Sanitizer::Address, Sanitizer::Undefined]
        );
        assert_eq!(profile.env["A"], "b");
        assert_eq!(
            (profile.line, profile.skip.as_slice()),
            (1, &["aot".to_owned()][..])
        );
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_reported_with_its_line() {
        let problems = |keys: &str| parse(&format!("[ci.a]\n{keys}\n")).unwrap_err();
        let [problem] = &problems("sanitizer = []")[..] else {
            panic!("one problem")
        };
        assert!(
            problem.starts_with("/k/kernels.toml:2: unknown key `sanitizer`; allowed here: ")
                && problem.ends_with("(did you mean `sanitizers`?)"),
            "{problem}"
        );
        assert_eq!(
            problems("sanitizers = [\"adress\"]"),
            [
                "/k/kernels.toml:2: unknown variant `adress`; allowed here: `address` or \
                 `undefined` (did you mean `address`?)"
            ]
        );
        assert_eq!(
            problems("llvm = 22\nshell = \"x\""),
            ["/k/kernels.toml:3: ci profile \"a\" has both llvm and shell; allowed: one of them"]
        );
    }
}
