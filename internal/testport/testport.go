// Package testport finds ports for the processes of our own tests.
package testport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// The ports are below those that systems use for outgoing connections (on Linux from
// 32768), so that no connection takes one before its process listens there.
const (
	lowest = 10000
	count  = 20000
)

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Free returns a port of the loopback address that is free, and so are the ports at the
// offsets from it. No port is returned twice.
func Free(offsets ...int) (int, error) {
	mu.Lock()
	defer mu.Unlock()
	var err error
	for range 1000 {
		port := lowest + rand.IntN(count) // its caller listens there: no seed repeats what others do
		ports := []int{port}
		for _, o := range offsets {
			ports = append(ports, port+o)
		}
		if err = free(ports); err != nil {
			continue
		}
		for _, p := range ports {
			given[p] = true
		}
		return port, nil
	}
	return 0, err
}

// free returns an error if a port is not free.
func free(ports []int) error {
	for _, p := range ports {
		if given[p] {
			return fmt.Errorf("port %d is taken", p)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Ports returns n ports that are free.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		var err error
		if ports[i], err = Free(); err != nil {
			t.Fatal(err)
		}
	}
	return ports
}
