//! Profiles of `kiln ci`: `[ci.NAME]` of the catalogue in use, and kiln's own.

use clap::ValueEnum as _;

use super::Failure;
use super::run::QUICK;
use crate::ci::{Name, Variable};
use crate::config::{Catalogue, CiProfile, Origin, nearest_first};
use crate::exit_code;

/// The group of the kernels that bpftrace supports.
const SUPPORTED: &str = "ci";

/// The profiles of a catalogue, and those of the built-in one that it does not have.
pub(super) struct Profiles {
    profiles: Vec<(Origin, CiProfile)>,
}

impl Profiles {
    pub(super) fn of(catalogue: &Catalogue) -> Result<Self, Failure> {
        let mut profiles: Vec<(Origin, CiProfile)> = Vec::new();
        let built_in = Catalogue::built_in()?;
        for catalogue in [catalogue, &built_in] {
            for profile in &catalogue.ci {
                if profiles.iter().all(|(_, known)| known.name != profile.name) {
                    profiles.push((catalogue.origin.clone(), profile.clone()));
                }
            }
        }
        Ok(Self { profiles })
    }

    /// Each name with what it is for.
    pub(super) fn list(&self) -> impl Iterator<Item = (&str, &str)> {
        let profiles = self.profiles.iter();
        profiles.map(|(_, profile)| (profile.name.as_str(), profile.about.as_str()))
    }

    /// The profile called `name`.
    pub(super) fn find(&self, name: &str) -> Result<Profile, Failure> {
        let found = self.profiles.iter().find(|(_, known)| known.name == name);
        let Some((origin, profile)) = found else {
            let known = self.profiles.iter().map(|(_, known)| known.name.as_str());
            let known = nearest_first(name, known).join(", ");
            return Err(Failure::new(
                exit_code::USAGE,
                format!("there is no ci profile \"{name}\"; the profiles are: {known}"),
            )
            .hint("a profile is a table [ci.NAME] of kernels.toml; kiln ci --list shows them"));
        };
        let wrong = |what: String| {
            let (line, name) = (profile.line, &profile.name);
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("{origin}:{line}: ci profile \"{name}\": {what}"),
            )
        };
        let steps = |names: &[String]| names.iter().map(|name| step(name)).collect();
        let only: Result<Vec<Name>, String> = steps(&profile.only);
        let skip: Result<Vec<Name>, String> = steps(&profile.skip);
        let env = profile.env.iter();
        let variables = env.map(|(name, value)| format!("{name}={value}").parse());
        let variables: Result<Vec<Variable>, String> = variables.collect();
        Ok(Profile {
            only: only.map_err(wrong)?,
            skip: skip.map_err(wrong)?,
            variables: variables.map_err(wrong)?,
            options: profile.clone(),
        })
    }
}

fn step(name: &str) -> Result<Name, String> {
    Name::from_str(name, false).map_err(|_| {
        let known = Name::value_variants().iter().map(|step| step.as_str());
        let known = nearest_first(name, known).join(", ");
        format!("there is no step \"{name}\"; the steps are: {known}")
    })
}

/// A profile whose names are all known.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) options: CiProfile,
    pub(super) only: Vec<Name>,
    pub(super) skip: Vec<Name>,
    pub(super) variables: Vec<Variable>,
}

/// The kernels to test on if nobody names any.
pub(super) fn default_kernels(catalogue: &Catalogue) -> Vec<String> {
    vec![catalogue.default_kernels(&[SUPPORTED, QUICK])]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn profiles(text: &str) -> Profiles {
        let origin = Origin::File("/k/kernels.toml".into());
        Profiles::of(&Catalogue::parse(text, origin).unwrap()).unwrap()
    }

    #[test]
    fn a_profile_of_the_file_replaces_a_built_in_one_of_its_name() {
        let profiles = profiles("[ci.aot]\nllvm = 7\n[ci.own]\nskip = [\"gtest\"]\n");
        assert_eq!(profiles.find("aot").ok().unwrap().options.llvm, Some(7));
        assert_eq!(profiles.find("own").ok().unwrap().skip, [Name::Gtest]);
        let names: Vec<_> = profiles.list().map(|(name, _)| name).collect();
        assert_eq!(&names[..2], ["aot", "own"]);
        assert!(names.contains(&"sanitizers"), "{names:?}");
    }

    #[test]
    fn every_built_in_profile_can_be_used() {
        let profiles = Profiles::of(&Catalogue::built_in().unwrap()).unwrap();
        let mut count = 0;
        for (name, about) in profiles.list() {
            assert!(!about.is_empty(), "{name}");
            assert!(profiles.find(name).is_ok(), "{name}");
            count += 1;
        }
        assert!(count > 10, "{count}");
    }

    #[test]
    fn an_unknown_step_or_a_bad_variable_is_reported_with_its_profile() {
        let profiles = profiles("[ci.a]\nonly = [\"gtests\"]\n[ci.b]\nenv = { \"A-B\" = \"x\" }\n");
        let message = |name: &str| profiles.find(name).err().unwrap().message;
        let start = "/k/kernels.toml:1: ci profile \"a\": there is no step \"gtests\"; the steps \
                     are: gtest, ";
        assert!(message("a").starts_with(start), "{}", message("a"));
        assert!(
            message("b").contains("`A-B` is not the name"),
            "{}",
            message("b")
        );
    }
}
