package peering

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/transport"
)

// DefaultTimeout bounds one read or write of a raft request if Config.Timeout is
// zero. It equals TCP_USER_TIMEOUT, so both give up on a silent peer after the same
// time.
const DefaultTimeout = 10 * time.Second

// Config is the configuration of a Transport.
type Config struct {
	// ID is this agent's ID: a DNS label, the one in its certificate.
	ID string

	// TLS supplies the certificates. Without it the agent has no peers: it opens no
	// port, does not dial, and its raft transport is in memory.
	TLS transport.TLS

	// Listen is the address to bind, host:port. A Listener is used in its place.
	// New takes ownership of it, even when New fails.
	Listen   string
	Listener net.Listener

	// Advertise is the host:port at which others reach this agent. Empty means
	// the bound address; a bound address without a host (":7401", "0.0.0.0")
	// is completed by its recipient, from the connection.
	Advertise string

	// Join are addresses, host:port, at which other agents may be. They are
	// dialled for as long as the transport lives.
	Join []string

	// Peers are known addresses by ID, each used until that agent has been met
	// and its hello names its address.
	Peers map[string]string

	// Recorded returns the addresses of members that the cluster has recorded, by ID.
	// They are used as Peers are. Optional. It must not block.
	Recorded func() map[string]string

	// Hello describes this agent as it is now. It must not block. The transport
	// fills in Protocol, ID, Instance, ClusterAddress, Met and Log itself.
	Hello func() Hello

	// Accept may refuse an agent whose certificate is valid. The text of its error
	// is sent to that agent. nil accepts all. It must not block, and is called
	// from many goroutines.
	Accept func(peer Hello) error

	// OnMeet is called with every hello that is news. Optional. It must not block,
	// and is called from many goroutines.
	OnMeet func(peer Hello)

	// OnRemoved is called when a peer, whose certificate is for the ID in its hello,
	// refuses this agent because it was removed from the cluster, and with that peer's
	// reason. A peer does so where the error of its Accept is interrex.ErrRemoved.
	// Optional. It must not block, and is called from many goroutines.
	OnRemoved func(peer Hello, reason string)

	// Authorities returns the certificates of the cluster's CA, in DER, which an agent
	// that joins is shown; none: agents do not join here. Optional. It must not block.
	Authorities func() [][]byte

	// Memory stores what is remembered of other agents' logs; nil: it is lost when
	// the transport ends.
	Memory Store

	Clock  clock.Clock
	Logger interrex.Logger

	// Dialer makes connections; nil: a *net.Dialer.
	Dialer transport.Dialer

	// Timeout bounds each read and write of a raft request; zero:
	// DefaultTimeout.
	Timeout time.Duration
}

// Validate returns an error for the first field that is not valid.
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
		return errors.New("an agent without TLS has no peers: give certificates, or none of Listen, Listener, Join and Peers")
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
