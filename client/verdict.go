package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/wire"
)

// maxNamed is how many addresses an error names.
const maxNamed = 4

// note remembers why an agent could not be reached, until it responds. It ignores
// errors after the caller has gone, which are not about the agent.
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

// silence returns in a few words why an agent did not respond.
func silence(err error) string {
	var errno syscall.Errno
	var call *connect.Error
	var e *interrex.Error
	switch {
	case distrusted(err):
		return "its certificate is signed by a CA that is not known here"
	case errors.Is(err, syscall.EACCES):
		return "permission denied: run this as the agent's user"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), callstream.IsSilent(err):
		return "no answer"
	case errors.As(err, &call):
		return callstream.Reason(call)
	case errors.As(err, &e) && errors.As(e.Unwrap(), &e):
		return e.Message
	}
	return "no answer"
}

// distrusted reports whether an agent was reached, but its certificate is signed by
// an unknown CA.
func distrusted(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

// unverified reports whether an agent was reached, but its certificate is not valid
// here: distrusted, ended, or for another name.
func unverified(err error) bool {
	var failed *tls.CertificateVerificationError
	return errors.As(err, &failed)
}

// verdict returns the error of a request that has timed out: the latest error from an
// agent, or else that none responded, with the reason of each.
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
	if e.Kind != interrex.ErrOutcomeUnknown && !unverified(last) && !errors.Is(last, syscall.EACCES) {
		told.Message += "; is an agent running?"
	}
	return told.WithCause(last)
}

// silences lists the agents that could not be reached lately, with the reasons; "" if
// there are none.
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

// repeatable returns err with the id under which its request can be retried, if its
// outcome is unknown and the id has a record of its own.
func (c *Client) repeatable(err error, id string) error {
	var e *interrex.Error
	if !c.config.OneShot || id == "" || !errors.As(err, &e) || e.Kind != interrex.ErrOutcomeUnknown {
		return err
	}
	told := *e
	told.RequestID = id
	return told.WithCause(err)
}
