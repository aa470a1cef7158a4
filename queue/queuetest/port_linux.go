package queuetest

import (
	"strconv"
	"syscall"
)

// reserve takes a name that one process at a time can have and that the kernel
// gives back when the process ends: a socket in the abstract namespace. It
// reports whether nobody had it.
func reserve(port int) bool {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if syscall.Bind(fd, &syscall.SockaddrUnix{Name: "@sealpost-test-port-" + strconv.Itoa(port)}) != nil {
		_ = syscall.Close(fd)
		return false
	}
	return true // fd stays open: that is the reservation
}
