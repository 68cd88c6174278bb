# The files of this workspace that builds read, so that a change to other
# docs rebuilds nothing.
{ lib }:

lib.fileset.toSource {
  root = ../.;
  fileset = lib.fileset.unions [
    ../Cargo.toml
    ../Cargo.lock
    ../kernels.toml
    ../kernels.lock
    ../guest-init
    ../harness
    ../tests
    # Unit tests compare them with the code.
    ../docs/events.md
    ../docs/verdicts.md
    # A unit test runs the fuzz target's function over them.
    ../fuzz/seeds/bpf_object
  ];
}
