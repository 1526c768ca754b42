package transport

import (
	"crypto/tls"
	"crypto/x509"
)

// The protocols that share the port, distinguished by ALPN.
const (
	protocolRaft  = "interrex-raft/1"
	protocolAPI   = "interrex-api/1"
	protocolHello = "interrex-hello/1"
	// protocolJoin is the only one that asks for no client certificate: see JoinListener.
	protocolJoin = "interrex-join/1"
	// ForwardProtocol is for the connections of agents without raft: see
	// ForwardListener.
	ForwardProtocol = "interrex-forward/1"
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
