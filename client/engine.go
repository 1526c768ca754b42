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
	"github.com/interrex/interrex/wire"
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

// Report returns one agent's dependency engine, live: of the first address that
// answers.
func (c *Client) Report(ctx context.Context) (*interrexv1.ReportResponse, error) {
	return anyAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.ReportResponse, error) {
		return one(ctx, p.engine.Report, &interrexv1.ReportRequest{}, false)
	})
}

// Health asks whether one agent is ready: of the first address that is. The
// error of one that is not, KindUnavailable, says what is missing.
func (c *Client) Health(ctx context.Context) error {
	_, err := anyAgent(ctx, c, func(ctx context.Context, p *endpoint) (struct{}, error) {
		return struct{}{}, p.ready(ctx)
	})
	return err
}

// Config returns the effective configuration of the agent at the first address,
// as YAML. It is there on the agent's socket alone.
func (c *Client) Config(ctx context.Context) (string, error) {
	m, err := firstAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.ConfigResponse, error) {
		return one(ctx, p.engine.Config, &interrexv1.ConfigRequest{}, false)
	})
	return m.GetYaml(), err
}

// Reload makes the agent at the first address take up its configuration file,
// and returns the sections whose workers restart. It is there on the agent's
// socket alone.
func (c *Client) Reload(ctx context.Context) ([]string, error) {
	m, err := firstAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.ReloadResponse, error) {
		return one(ctx, p.engine.Reload, &interrexv1.ReloadRequest{}, true)
	})
	return m.GetChanged(), err
}

// Drain stops the agent at the first address politely, and returns when it is
// drained. It is there on the agent's socket alone.
func (c *Client) Drain(ctx context.Context) error {
	_, err := firstAgent(ctx, c, func(ctx context.Context, p *endpoint) (*interrexv1.DrainResponse, error) {
		return one(ctx, p.engine.Drain, &interrexv1.DrainRequest{}, true)
	})
	return err
}

// firstAgent asks the agent at the first address, once.
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

// anyAgent asks one agent after the other, each once, until one answers. Each has
// its part of the time that is left.
func anyAgent[A any](ctx context.Context, c *Client, ask func(context.Context, *endpoint) (A, error)) (a A, err error) {
	end := time.Now().Add(c.config.Timeout)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(end) {
		end = earlier
	}
	var said error // by an agent
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

// ready asks the agent's readiness probe.
func (p *endpoint) ready(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/readyz?verbose", nil)
	if err != nil {
		return interrex.Errorf(interrex.KindInvalid, "cannot ask %s: %v", p.url, err)
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
		return interrex.Errorf(interrex.KindUnavailable, "%s is not ready: %s", p.url, strings.TrimSpace(string(text)))
	}
	return nil
}
