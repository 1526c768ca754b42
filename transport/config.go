package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
)

// DefaultTimeout bounds one read or write of a raft request when Config does
// not say otherwise. It equals TCP_USER_TIMEOUT: a peer that has acknowledged
// nothing for so long is gone for both.
const DefaultTimeout = 10 * time.Second

// Dialer makes the TCP connection below TLS. A *net.Dialer is one; tests put a
// proxy in between with it.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Config is what a transport is made of.
type Config struct {
	// ID is this agent's: a DNS label, the one that its certificate carries.
	ID string

	// TLS supplies the certificates. Without it the agent is alone: it opens no
	// port, dials nobody, and its raft transport is in memory.
	TLS TLS

	// Listen is the address to bind, host:port. Listener takes its place when
	// it is given, and is the transport's own from New on, also when that fails.
	Listen   string
	Listener net.Listener

	// Advertise is the host:port at which others reach this agent. Empty means
	// the bound address; a bound address without a host (":7401", "0.0.0.0")
	// is completed by its reader, from the connection it came over.
	Advertise string

	// Join are addresses, host:port, at which other agents may be. They are
	// asked for as long as the transport lives.
	Join []string

	// Peers are addresses that are known by ID, used until that agent has
	// been met and has said where it is.
	Peers map[string]string

	// Hello describes this agent as it is now. It must not block. The transport
	// fills in Protocol, ID, Instance, Met and Log itself, and ClusterAddress
	// when it is empty.
	Hello func() Hello

	// Accept may refuse an agent whose certificate is good, with the reason in
	// words, which goes back to it. nil lets everybody in. It must not block,
	// and is called from many goroutines.
	Accept func(peer Hello) error

	// OnMeet hears of every hello that says something new. nil is nobody. It
	// must not block, and is called from many goroutines.
	OnMeet func(peer Hello)

	// Memory keeps what is remembered of the others' logs; nil: it ends with the
	// transport.
	Memory Store

	Clock  clock.Clock
	Logger interrex.Logger

	// Dialer makes connections; nil is a *net.Dialer.
	Dialer Dialer

	// Timeout bounds each read and write of a raft request; 0 is
	// DefaultTimeout.
	Timeout time.Duration
}

// Validate says which field is not valid.
func (c Config) Validate() error {
	switch {
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	case c.Hello == nil:
		return errors.New("nil Hello not valid")
	case c.Timeout < 0:
		return errors.New("negative Timeout not valid")
	}
	if err := certificates.CheckID(c.ID); err != nil {
		return err
	}
	if c.TLS == nil {
		return c.validateAlone()
	}
	if c.Listener == nil && c.Listen == "" {
		return errors.New("empty Listen not valid: give the address for other agents, host:port")
	}
	return c.validateAddresses()
}

// closeListener closes a Listener that was given.
func (c Config) closeListener() error {
	if c.Listener == nil {
		return nil
	}
	return c.Listener.Close()
}

func (c Config) validateAlone() error {
	if c.Listen != "" || c.Listener != nil || len(c.Join) > 0 || len(c.Peers) > 0 {
		return errors.New("an agent without TLS is alone: give certificates, or neither Listen, Listener, Join nor Peers")
	}
	return nil
}

func (c Config) validateAddresses() error {
	if c.Advertise != "" {
		if err := inbound.CheckAddress(c.Advertise); err != nil {
			return fmt.Errorf("advertised address %q not valid: %w", c.Advertise, err)
		}
	}
	for _, address := range c.Join {
		if err := inbound.CheckAddress(address); err != nil {
			return fmt.Errorf("address to join %q not valid: %w", address, err)
		}
	}
	for id, address := range c.Peers {
		if err := certificates.CheckID(id); err != nil {
			return err
		}
		if err := inbound.CheckAddress(address); err != nil {
			return fmt.Errorf("address %q of %s not valid: %w", address, id, err)
		}
	}
	return nil
}
