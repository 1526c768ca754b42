// Package custody owns where the key of the cluster's CA lies: on the voters, and
// nowhere else. The leader hands it to the agent that it is about to promote, and an
// agent without a vote deletes it.
package custody

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
)

// path is where an agent takes the key.
const path = "/custody/ca-key"

// Keys is the CA's key on one agent.
type Keys struct {
	Dir    string // the agent's data directory
	Table  *member.Table
	Leader func() string // the ID of the agent that leads, as this one knows; empty: it knows none
	Dial   peercall.Dialer
	// Changed is called when this agent has got the key or has deleted it. It must not
	// block.
	Changed func()
	Logger  interrex.Logger
}

// handing is what a leader sends, and receipt what it gets.
type (
	handing struct {
		Key []byte `json:"key"` // PKCS #8, in PEM
	}
	receipt struct{}
)

// Hand gives the key to an agent that is to have a vote, and returns once it is on that
// agent's disk. In a cluster whose CA is elsewhere there is nothing to give.
func (k Keys) Hand(ctx context.Context, id string) error {
	if k.Table.CA() == "" {
		return nil
	}
	ca, err := authority.Load(k.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot give the CA's key to %s: it is not on this agent, which leads: let a voter lead that has it", id)
	}
	if err != nil {
		return err
	}
	key, err := ca.Key()
	if err != nil {
		return err
	}
	if _, err := peercall.Call[receipt](ctx, k.Dial, id, path, &handing{Key: key}); err != nil {
		return fmt.Errorf("cannot give the CA's key to %s: %w", id, err)
	}
	return nil
}

// Serve takes the key from the agent that leads.
func (k Keys) Serve(mux *http.ServeMux) { peercall.Handle(mux, path, k.take) }

func (k Keys) take(_ context.Context, peer string, h *handing) (*receipt, error) {
	if leader := k.Leader(); peer != leader {
		return nil, interrex.Errorf(interrex.ErrDenied, "only the leader hands out the CA's key: that is %q, as far as is known here, and not %s", leader, peer)
	}
	der := k.Table.CA()
	if der == "" {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "this agent does not know the cluster's CA yet")
	}
	cert, err := x509.ParseCertificate([]byte(der))
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot read the CA's certificate: %v", err)
	}
	ca, err := authority.Of(cert, h.Key)
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "it is not the key of this cluster's CA: %v", err)
	}
	if err := ca.SaveKey(k.Dir); err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "%v", err)
	}
	k.Changed()
	k.Logger.Infof("got the CA's key from %s, which leads, to have a vote", peer)
	return &receipt{}, nil
}
