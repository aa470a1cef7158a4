package queuetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports that FreePort chooses from: below those that Linux gives to outgoing
// connections (32768 and up), which could take one before its user does.
const (
	firstPort = 12_000
	manyPorts = 20_000
)

// FreePort returns a TCP port of 127.0.0.1 on which nobody listens. No other
// caller on this machine is given it while this process lives: test binaries
// run side by side, and a port that was merely free a moment ago is taken by
// two of them sooner or later.
func FreePort() (int, error) {
	for range manyPorts {
		port := firstPort + rand.IntN(manyPorts)
		if !reserve(port) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port")
}
