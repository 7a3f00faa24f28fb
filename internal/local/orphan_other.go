//go:build unix && !linux

package local

import "syscall"

// dieWithParent does nothing: these systems have no such signal. A server that
// outlives us is stopped by the next start in its folder.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
