package client

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// maxHealth bounds what Health reads.
const maxHealth = 64 << 10

// Status returns one agent's view of itself and of the cluster: of the first
// address that answers.
func (c *Client) Status(ctx context.Context) (*interrexv1.StatusResponse, error) {
	return anyAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.StatusResponse, error) {
		return one(ctx, p.engine.Status, &interrexv1.StatusRequest{}, false)
	})
}

// Report returns the current state of one agent's dependency engine: of the first
// address that answers.
func (c *Client) Report(ctx context.Context) (*interrexv1.ReportResponse, error) {
	return anyAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.ReportResponse, error) {
		return one(ctx, p.engine.Report, &interrexv1.ReportRequest{}, false)
	})
}

// Health reports whether any agent is ready, trying one address after another.
// The error is ErrUnavailable, and says what is missing.
func (c *Client) Health(ctx context.Context) error {
	_, err := anyAgent(ctx, c, func(ctx context.Context, p *endpoint) (struct{}, error) {
		return struct{}{}, p.ready(ctx)
	})
	return err
}

// Config returns the effective configuration of the agent at the first address,
// as YAML. It is available only over the agent's socket.
func (c *Client) Config(ctx context.Context) (string, error) {
	m, err := firstAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.ConfigResponse, error) {
		return one(ctx, p.engine.Config, &interrexv1.ConfigRequest{}, false)
	})
	return m.GetYaml(), err
}

// Reload makes the agent at the first address read its configuration file again,
// and returns the sections whose workers restart. It is available only over the
// agent's socket.
func (c *Client) Reload(ctx context.Context) ([]string, error) {
	m, err := firstAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.ReloadResponse, error) {
		return one(ctx, p.engine.Reload, &interrexv1.ReloadRequest{}, true)
	})
	return m.GetChanged(), err
}

// Drain stops the agent at the first address gracefully, and returns when it is
// drained. It is available only over the agent's socket.
func (c *Client) Drain(ctx context.Context) error {
	_, err := firstAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.DrainResponse, error) {
		return one(ctx, p.engine.Drain, &interrexv1.DrainRequest{}, true)
	})
	return err
}

// Leave takes the agent at the first address out of its cluster, and returns when it
// has left and is about to stop; purge deletes raft's data in its directory. It is
// available only over the agent's socket.
func (c *Client) Leave(ctx context.Context, purge bool) error {
	_, err := firstAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.LeaveResponse, error) {
		return one(ctx, p.engine.Leave, &interrexv1.LeaveRequest{Purge: purge}, true)
	})
	return err
}

// firstAgent calls the agent at the first address, once.
func firstAgent[A any](ctx context.Context, c *Client, ask func(context.Context, *endpoint) (A, error)) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	p := c.endpoints[0]
	a, err := ask(ctx, p)
	p.note(ctx, err)
	if err == nil || !moves(interrex.KindOf(err)) || wire.Answered(err) {
		return a, err
	}
	return a, c.verdict(nil, err)
}

// anyAgent calls one agent after the other, each once, until one answers. Each
// gets its share of the remaining time.
func anyAgent[A any](ctx context.Context, c *Client, ask func(context.Context, *endpoint) (A, error)) (a A, err error) {
	end := time.Now().Add(c.config.Timeout)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(end) {
		end = earlier
	}
	var said error // the latest error from an agent
	for n := range c.endpoints {
		p := c.endpoint()
		one, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(len(c.endpoints)-n))
		a, err = ask(one, p)
		p.note(one, err)
		cancel()
		if err == nil || !moves(interrex.KindOf(err)) {
			return a, err
		}
		if wire.Answered(err) {
			said = err
		}
		if ctx.Err() != nil {
			break
		}
		c.leave(p)
	}
	return a, c.verdict(said, err)
}

// ready queries the agent's readiness probe.
func (p *endpoint) ready(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/readyz?verbose", nil)
	if err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "cannot query %s: %v", p.url, err)
	}
	answer, err := p.calls.Do(r)
	if err != nil {
		return wire.FromError(connect.NewError(connect.CodeUnavailable, err), false)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxHealth))
	if err != nil {
		return wire.FromError(connect.NewError(connect.CodeUnavailable, err), false)
	}
	if answer.StatusCode != http.StatusOK {
		return interrex.Errorf(interrex.ErrUnavailable, "%s is not ready: %s", p.url, strings.TrimSpace(string(text)))
	}
	return nil
}
