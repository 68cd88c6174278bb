# The files of this workspace that builds read: a change to other docs builds
# nothing again.
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
    # Unit tests hold them against the code.
    ../docs/events.md
    ../docs/verdicts.md
  ];
}
