package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/hold"
)

// DefaultTimeout bounds a call with all its retries.
const DefaultTimeout = 30 * time.Second

// Config says which agents a Client talks to, and how.
type Config struct {
	// Addresses of one or more agents of one cluster: HOST:PORT,
	// http://HOST:PORT, https://HOST:PORT or unix:///PATH. HOST:PORT is the same
	// as http://HOST:PORT. Any of them will do: an agent hands on what is the
	// leader's. The first is used until it fails.
	Addresses []string
	// TLS is for https:// addresses.
	TLS TLSFiles
	// Timeout bounds a call with all its retries, and a Hold that does not wait,
	// where its context does not end before; 0: DefaultTimeout. A claim that
	// waits is bounded by its wait.
	Timeout time.Duration
	// OneShot is for programs that make one or two requests and end: their
	// request ids are records by themselves, and calls are unary, so that
	// nothing is left behind. Hold, Run and claims that wait keep a stream all
	// the same.
	OneShot bool
	// RequestID is for a OneShot client: the id of the one recorded request that
	// it makes, to repeat one whose outcome is unknown: see
	// interrex.Error.RequestID. Empty: a random one for each request.
	RequestID string
	// Holder is the holder's name where a request gives none; empty:
	// $INTERREX_HOLDER, else HOST/PID/RANDOM.
	Holder string
	Logger interrex.Logger // nil: nothing is said
	Clock  hold.Clock      // nil: the system's, which counts sleep
	// Dial makes the connections, as http.Transport.DialContext does; nil: TCP
	// and Unix sockets. An agent reaches itself by it without a port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Overstayed is called for each function of Leases.Run that ended later than
	// it had to: see interrex.Held.Deadline. It must not block. nil: nothing is
	// called.
	Overstayed func()
}

// TLSFiles names PEM files.
type TLSFiles struct {
	CA   string // who may have signed the agents' certificates; empty: the system's roots
	Cert string // the client's own certificate; empty: none
	Key  string // its key; empty: none
}

// Validate says what is missing or malformed, as KindInvalid.
func (c Config) Validate() error {
	switch {
	case len(c.Addresses) == 0:
		return interrex.Errorf(interrex.KindInvalid, "client: no address: write %s", addressForms)
	case c.Timeout < 0:
		return interrex.Errorf(interrex.KindInvalid, "client: timeout: %s is below zero", c.Timeout)
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return interrex.Errorf(interrex.KindInvalid, "client: tls: a certificate and its key go together")
	}
	if c.RequestID != "" && !c.OneShot {
		return interrex.Errorf(interrex.KindInvalid, "client: a request id is for a one-shot client")
	}
	if err := interrex.ValidateRequestID(c.RequestID); err != nil {
		return err
	}
	for _, a := range c.Addresses {
		if _, err := parseAddress(a); err != nil {
			return err
		}
	}
	return nil
}

// load reads the files. A CA that is given is the only one.
func (f TLSFiles) load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read the CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("cannot read the CA: " + f.CA + " holds no PEM certificate")
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("cannot read the client's certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
