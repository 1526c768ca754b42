package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// maxNamed is how many addresses an error names.
const maxNamed = 4

// note remembers why an agent could not be asked, until it answers. That a caller
// has gone says nothing about the agent.
func (p *endpoint) note(ctx context.Context, err error) {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case err != nil && !wire.Answered(err):
		text := silence(err)
		p.silent.Store(&text)
	case p.silent.Load() != nil:
		p.silent.Store(nil)
	}
}

// silence says in a few words why an agent has not answered.
func silence(err error) string {
	var errno syscall.Errno
	var call *connect.Error
	var e *interrex.Error
	switch {
	case distrusted(err):
		return "its certificate is signed by a CA that is not known here"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), isMute(err):
		return "no answer"
	case errors.As(err, &call):
		return reason(call)
	case errors.As(err, &e) && errors.As(e.Unwrap(), &e):
		return e.Message
	}
	return "no answer"
}

// distrusted reports whether an agent was reached, and its certificate is of an
// unknown CA.
func distrusted(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

// verdict is the error of a request whose time is over: what an agent has said,
// else that none has answered, with the reason of each.
func (c *Client) verdict(said, last error) error {
	why := c.silences()
	var e *interrex.Error
	switch {
	case said != nil && why == "":
		return said
	case said != nil:
		return fmt.Errorf("%w (%s)", said, why)
	case why == "" || !errors.As(last, &e):
		return last
	}
	told := *e
	told.Message = "no agent answers at " + why
	if e.Kind != interrex.KindOutcomeUnknown && !distrusted(last) {
		told.Message += "; is an agent running?"
	}
	return told.WithCause(last)
}

// silences names the agents that could not be asked lately, with the reasons; ""
// when there are none.
func (c *Client) silences() string {
	var all []string
	for _, p := range c.endpoints {
		if text := p.silent.Load(); text != nil {
			all = append(all, p.String()+": "+*text)
		}
	}
	if more := len(all) - maxNamed; more > 0 {
		all = append(all[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}

// repeatable returns err with the id under which its request can be asked again,
// when its outcome is unknown and the id is a record by itself.
func (c *Client) repeatable(err error, id string) error {
	var e *interrex.Error
	if !c.config.OneShot || id == "" || !errors.As(err, &e) || e.Kind != interrex.KindOutcomeUnknown {
		return err
	}
	told := *e
	told.RequestID = id
	return told.WithCause(err)
}
