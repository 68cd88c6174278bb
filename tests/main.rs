//! The end-to-end tests, in one binary: it is linked only once, and tests of all files keep the
//! machine busy until the end. `cargo test --test end_to_end exec::` runs those of one file.
#![allow(clippy::unwrap_used)]

mod support;

mod appimage;
mod aslr;
mod causes;
mod ci;
mod cli;
mod clock;
mod command_suites;
mod config;
mod dialect;
mod exec;
mod exec_limits;
mod faults;
mod firmware;
mod flake;
mod github_action;
mod guest_system;
mod host_kernel;
mod hostile_tests;
mod kernel_paths;
mod kernel_reports;
mod kernels;
mod lifecycle;
mod lint;
mod list;
mod matrix;
mod nix_builders;
mod nix_kernels;
mod nix_store;
mod oci;
mod ordinary_user;
mod other_hosts;
mod packages;
mod policies;
mod pools;
mod preflight;
mod provision;
mod read_runs;
mod reports;
mod roots;
mod run;
mod run_ends;
mod run_faults;
mod shards;
mod share_files;
mod share_limits;
mod shares;
mod shell;
mod slow;
mod state;
mod transports;
mod unread;
mod workflows;
