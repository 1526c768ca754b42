package inbound

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// CheckAddress returns an error unless address is a host that others can dial, and
// a port.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("give host:port: %w", err)
	}
	if Unspecified(host) {
		return errors.New("others cannot reach an unspecified host")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	return nil
}

// Unspecified reports whether a host is empty, or the address of any interface.
func Unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// OnLoopback reports whether an address, host:port, can be reached only from this
// machine.
func OnLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && IsLoopback(host)
}

// IsLoopback reports whether a host is a loopback address.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CompleteAddress sets the host, and the port unless it is empty, of an address
// without a host.
func CompleteAddress(address, host, port string) string {
	own, listens, err := net.SplitHostPort(address)
	if err != nil || !Unspecified(own) {
		return address
	}
	return net.JoinHostPort(host, cmp.Or(port, listens))
}

// HostOf returns the host of an address.
func HostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}
