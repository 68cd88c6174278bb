// Package needskernel has tests that need a kernel: see tests/runners.rs.
package needskernel

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// The part of union bpf_attr for BPF_PROG_LOAD up to log_buf.
type load struct {
	progType, insnCnt uint32
	insns, license    uintptr
	logLevel, logSize uint32
	logBuf            uint64
}

func TestTheKernelLoadsAProgram(t *testing.T) {
	// r0 = 0; exit
	insns := [...]uint64{0xb7, 0x95}
	license := [...]byte{'G', 'P', 'L', 0}
	attr := load{progType: 1, insnCnt: 2, insns: uintptr(unsafe.Pointer(&insns)), license: uintptr(unsafe.Pointer(&license))}
	fd, _, errno := syscall.Syscall(321, 5, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		t.Fatal(errno)
	}
	syscall.Close(int(fd))
}

func TestReleases(t *testing.T) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"6.1.", "6."} {
		t.Run(want, func(t *testing.T) {
			if !strings.HasPrefix(string(release), want) {
				t.Errorf("%s is not %s", release, want)
			}
		})
	}
}

func TestSkipped(t *testing.T) {
	t.Skip("needs another kernel")
}
