// Package client is the library for programs that talk to agents: leases with
// calls that are safe to retry, holds that end in time, and watches that resume.
// It does not import the agents' own machinery.
package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/silent"
)

// Client talks to the agents of one cluster. It is safe for concurrent use.
type Client struct {
	config    Config
	endpoints []*endpoint
	at        atomic.Int64 // index of the endpoint in use
	epochs    epochs
	names     *names
	methods   sync.Map // wire.Method by procedure
	ids       hold.IDs
	keeper    *hold.Keeper
	life      context.Context
	end       context.CancelFunc

	mu      sync.Mutex // held while a watch begins: none does after Close
	watches sync.WaitGroup
}

// Dial returns a Client. It connects at the first call, so that an agent may come
// up later; ctx bounds only Dial itself. The caller must Close it.
func Dial(_ context.Context, c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Logger == nil {
		c.Logger = silent.Logger{}
	}
	if c.Clock == nil {
		c.Clock = hold.SystemClock()
	}
	if c.Holder == "" {
		c.Holder = hold.DefaultHolder()
	}
	d := &Client{config: c}
	d.names = newNames(d.allot)
	d.life, d.end = context.WithCancel(context.Background())
	d.ids = d.names
	if c.OneShot {
		d.ids = plainIDs{d}
	}
	var err error
	d.keeper, err = hold.New(hold.Config{
		Backend: leaseCalls(d.single), IDs: d.ids, Clock: c.Clock, Logger: c.Logger, Holder: c.Holder, Timeout: c.Timeout, Overstayed: c.Overstayed,
		Agents: len(c.Addresses),
	})
	if err != nil {
		return nil, err
	}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// open makes the endpoints.
func (c *Client) open() error {
	files, err := c.config.TLS.load()
	if err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "client: %v", err).WithCause(err)
	}
	if c.config, err = c.config.withToken(); err != nil {
		return err
	}
	for _, a := range c.config.Addresses {
		p, err := newEndpoint(a, files, c.config, &c.epochs)
		if err != nil {
			return err
		}
		c.endpoints = append(c.endpoints, p)
	}
	return nil
}

// Close ends the contexts of all holds without releasing them, ends all watches,
// gives back the names of the client's requests, within a second, and closes the
// connections.
func (c *Client) Close() error {
	c.keeper.Close()
	c.mu.Lock()
	c.end()
	c.mu.Unlock()
	c.watches.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for name, mark := range c.names.retire() {
		if err := c.retire(ctx, name, mark); err != nil {
			c.config.Logger.Debugf("cannot give the name %s back, it is dropped a day after its last request: %v", name, err)
			break
		}
	}
	for _, p := range c.endpoints {
		p.close()
	}
	return nil
}

// allot asks for a name for request ids.
func (c *Client) allot(ctx context.Context, bits uint64) (string, interrex.Revision, error) {
	m, err := ask[interrexv1.OpenNameResponse](ctx, c.do, interrexv1.StateServiceOpenNameProcedure, &interrexv1.OpenNameRequest{Bits: bits}, Options{})
	return m.GetName(), interrex.Revision(m.GetRevision()), err
}

// hear records a revision of a response.
func (c *Client) hear(r interrex.Revision) { c.names.hear(r) }

// retire returns a name to the cluster, because no request will use it any more.
func (c *Client) retire(ctx context.Context, name string, mark uint64) error {
	r, err := newRequest(interrexv1.StateServiceRetireProcedure, &interrexv1.RetireRequest{Name: name, Mark: mark}, Options{})
	if err != nil {
		return err
	}
	if err := c.prepare(r); err != nil {
		return err
	}
	_, err = c.endpoint().stream.Call(ctx, r.attempt("", 0))
	return err
}

// DrainHolds ends the contexts of all holds, starts no new one, and waits until
// each lease was released by its holder, or has expired, or ctx ends. Close the
// Client afterwards.
func (c *Client) DrainHolds(ctx context.Context) error { return c.keeper.Drain(ctx) }

// endpoint returns the agent in use.
func (c *Client) endpoint() *endpoint { return c.endpoints[c.at.Load()] }

// leave moves from an agent that failed to the next, unless another caller has
// already done so. It reports whether there is another one.
func (c *Client) leave(p *endpoint) bool {
	at := c.at.Load()
	if c.endpoints[at] == p {
		c.at.CompareAndSwap(at, (at+1)%int64(len(c.endpoints)))
	}
	return len(c.endpoints) > 1
}
