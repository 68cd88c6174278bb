//! Options for the guest's root. They decide which bpftrace is tested, and so which tests there
//! are.

use clap::Args;

use super::Failure;
use super::context::Context;
use super::nix_args::{self, NixArgs};
use crate::exit_code;
use crate::guest::root::Root;

/// What the guest sees.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Root options")]
pub(super) struct RootArgs {
    /// What the guest sees as /: host, dir:PATH, nix or nix:STORE
    #[arg(long = "root", value_name = "ROOT")]
    chosen: Option<Root>,
    /// The part of a Nix store that the guest gets
    #[command(flatten)]
    pub(super) nix: NixArgs,
}

impl RootArgs {
    /// The root to use.
    pub(super) fn root(&self) -> Root {
        self.nix.root().unwrap_or_else(|| self.asked_root())
    }

    /// The chosen root; a Nix store is not examined yet.
    fn asked_root(&self) -> Root {
        let root = self.chosen.clone().or_else(|| nix_args::implied(&self.nix));
        root.unwrap_or_else(Root::default_here)
    }

    /// Prepares the root before any VM starts: with a Nix store, builds packages and looks up
    /// closures.
    pub(super) async fn resolve(&mut self, context: &Context) -> Result<(), Failure> {
        let root = self.asked_root();
        if self.nix.any() && !matches!(root, Root::Nix(_)) {
            return Err(Failure::new(
                exit_code::USAGE,
                "--package, --dev-shell, --closure-only and --store need a Nix store, but --root \
                 names another root",
            )
            .hint("leave out --root, or use --root nix"));
        }
        root.check()?;
        self.nix.resolve(context, &root).await
    }
}
