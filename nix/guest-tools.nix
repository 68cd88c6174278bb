# The programs that bpftrace's runtime tests call.
{ pkgs }:

with pkgs; [
  bash
  bc
  binutils
  bpftools
  coreutils
  findutils
  gawk
  gnugrep
  gnused
  iproute2
  kmod
  nftables
  procps
  python3
  strace
  unixtools.ping
  util-linux
]
