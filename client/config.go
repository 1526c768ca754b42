package client

import (
	"context"
	"net"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/validation"
)

// defaultTimeout bounds a call with all its retries.
const defaultTimeout = 30 * time.Second

// Config configures a Client.
type Config struct {
	// Addresses of one or more agents of one cluster: HOST:PORT, http://HOST:PORT,
	// https://HOST:PORT or unix:///PATH. HOST:PORT is the same as http://HOST:PORT.
	// Any of them will do: an agent forwards to the leader. The first is used until
	// it fails.
	Addresses []string
	// TLS is for https:// addresses.
	TLS TLSFiles
	// TokenFile is a file with the access token, which is read again when it changes,
	// and Token is the token itself. At most one is given. A socket needs none.
	TokenFile, Token string
	// Timeout bounds a call with all its retries, and a Hold that does not wait,
	// unless its context ends first; 0: 30 s. A claim that waits is
	// bounded by its wait.
	Timeout time.Duration
	// OneShot is for programs that make one or two requests and exit: their request
	// ids do not use a name, and calls are unary, so that nothing is left behind.
	// Hold, Run and claims that wait use a stream nevertheless.
	OneShot bool
	// RequestID, for a OneShot client, is the id of the one recorded request that
	// it makes, to repeat one whose outcome is unknown: see
	// interrex.Error.RequestID. Empty: a random one for each request.
	RequestID string
	// Holder is the holder's name for requests without one; empty:
	// $INTERREX_HOLDER, else HOST/PID/RANDOM.
	Holder string
	Logger interrex.Logger // nil: nothing is logged
	Clock  interrex.Clock  // nil: the system's, which counts sleep
	// Dial makes the connections, as http.Transport.DialContext does; nil: TCP
	// and Unix sockets. An agent reaches itself by it without a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Overstayed is called for each function of Leases.Run that returned too late:
	// see interrex.Held.Deadline. It must not block. nil: nothing is called.
	Overstayed func()
}

// Validate checks the configuration; the error is ErrInvalid.
func (c Config) Validate() error {
	switch {
	case len(c.Addresses) == 0:
		return interrex.Errorf(interrex.ErrInvalid, "client: no address: use %s", addressForms)
	case c.Timeout < 0:
		return interrex.Errorf(interrex.ErrInvalid, "client: timeout: %s is not valid: give a duration above zero", c.Timeout)
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return interrex.Errorf(interrex.ErrInvalid, "client: tls: a certificate and its key go together")
	}
	if c.Token != "" && c.TokenFile != "" {
		return interrex.Errorf(interrex.ErrInvalid, "client: give an access token, or the file that has it, and not both")
	}
	if c.RequestID != "" && !c.OneShot {
		return interrex.Errorf(interrex.ErrInvalid, "client: a request id is for a one-shot client")
	}
	if err := validation.RequestID(c.RequestID); err != nil {
		return err
	}
	for _, a := range c.Addresses {
		if _, err := parseAddress(a); err != nil {
			return err
		}
	}
	return nil
}
