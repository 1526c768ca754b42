// Package transport owns what a program may provide for the port between agents: the
// certificates of its connections, and how they are made.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
)

// TLS supplies the certificates. Both methods are called at each handshake, from
// many goroutines, so that new certificates take effect without a restart.
type TLS interface {
	// Certificate returns this agent's certificate, with its key, valid for server
	// and client use.
	Certificate() (*tls.Certificate, error)
	// Roots returns the authorities whose certificates are accepted.
	Roots() (*x509.CertPool, error)
}

// Dialer makes the TCP connection below TLS. A *net.Dialer is one; tests use
// another to put a proxy in between.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}
