package worker

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"unsafe"
)

// Options of prctl(2).
const (
	prSetPdeathsig  = 1
	prSetDumpable   = 4
	prSetNoNewPrivs = 38
)

// harden makes the process keep the PIN to itself and die with its parent.
func harden() error {
	debug.SetTraceback("none")
	errs := []error{dieQuietly()}
	for _, o := range []struct {
		name          string
		option, value uintptr
	}{{"PR_SET_DUMPABLE", prSetDumpable, 0}, {"PR_SET_NO_NEW_PRIVS", prSetNoNewPrivs, 1}, {"PR_SET_PDEATHSIG", prSetPdeathsig, uintptr(syscall.SIGKILL)}} {
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, o.option, o.value, 0, 0, 0, 0); errno != 0 {
			errs = append(errs, fmt.Errorf("%s: %w", o.name, errno))
		}
	}
	errs = append(errs, syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}))
	// A terminal's interrupt and a service manager's SIGTERM reach the whole group. The parent decides when this process ends.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return errors.Join(errs...)
}

// dieQuietly gives the signals of a crash back to the kernel. What Go prints of one includes registers, which may hold the PIN.
func dieQuietly() error {
	var action [4]uint64 // struct sigaction of the kernel: SIG_DFL, no flags, no restorer, empty mask
	for _, sig := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGABRT, syscall.SIGTRAP} {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
		if errno != 0 {
			return fmt.Errorf("rt_sigaction of %v: %w", sig, errno)
		}
	}
	return nil
}
