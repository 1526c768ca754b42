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
	"slices"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
)

// path is where an agent takes the key.
const path = "/custody/ca-key"

// Keys are the keys of the cluster's CA on one agent: its own, and while it is rotated
// that of the next one.
type Keys struct {
	Dir    string // the agent's data directory
	Table  *member.Table
	Leader func() string // the ID of the agent that leads, as this one knows; empty: it knows none
	Dial   peercall.Dialer
	// Mutex is taken while the keys on the disk are changed: there is one for a directory.
	Mutex *sync.Mutex
	// Changed is called when the keys of this agent have changed. It must not block.
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

// wanted returns the CAs whose keys the voters keep, in DER, the cluster's first.
func (k Keys) wanted() [][]byte {
	var all [][]byte
	if ca := k.Table.CA(); ca != "" {
		all = append(all, []byte(ca))
	}
	if r := k.Table.Rotation(); r != nil && r.Next != "" {
		all = append(all, []byte(r.Next))
	}
	return all
}

// Hand gives the keys to an agent that is to have a vote, and returns once they are on
// that agent's disk. In a cluster whose CA is elsewhere there is nothing to give.
func (k Keys) Hand(ctx context.Context, id string) error {
	for i, der := range k.wanted() {
		ca, err := authority.LoadOf(k.Dir, der)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue // another leader is making the next CA
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot give the CA's key to %s: it is not on this agent, which leads: start a voter that has it, or make another CA: 'interrex ca rotate'", id)
		}
		if err != nil {
			return err
		}
		if err := k.send(ctx, id, ca); err != nil {
			return err
		}
	}
	return nil
}

// send gives one key to an agent.
func (k Keys) send(ctx context.Context, id string, ca *authority.Authority) error {
	key, err := ca.Key()
	if err != nil {
		return err
	}
	if _, err := peercall.Call[receipt](ctx, k.Dial, id, path, &handing{Key: key}); err != nil {
		return fmt.Errorf("cannot give the CA's key to %s: %w", id, err)
	}
	return nil
}

// Serve takes the keys from the agent that leads.
func (k Keys) Serve(mux *http.ServeMux) { peercall.Handle(mux, path, k.take) }

func (k Keys) take(_ context.Context, peer string, h *handing) (*receipt, error) {
	if leader := k.Leader(); peer != leader {
		return nil, interrex.Errorf(interrex.ErrDenied, "only the leader hands out the CA's key: that is %q, as far as is known here, and not %s", leader, peer)
	}
	ca, err := k.recognize(h.Key)
	if err != nil {
		return nil, err
	}
	if err := k.Add(ca); err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "%v", err)
	}
	k.Logger.Infof("got the CA's key from %s, which leads, to have a vote", peer)
	return &receipt{}, nil
}

// recognize returns the CA of the cluster that a key belongs to.
func (k Keys) recognize(key []byte) (*authority.Authority, error) {
	wanted := k.wanted()
	if len(wanted) == 0 {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "this agent does not know the cluster's CA yet")
	}
	var failed error
	for _, der := range wanted {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot read the CA's certificate: %v", err)
		}
		ca, err := authority.Of(cert, key)
		if err == nil {
			return ca, nil
		}
		failed = err
	}
	return nil, interrex.Errorf(interrex.ErrInvalid, "it is not the key of this cluster's CA, nor of the next one: %v", failed)
}

// Add adds the key of a CA to those on this agent.
func (k Keys) Add(ca *authority.Authority) error {
	k.Mutex.Lock()
	defer k.Mutex.Unlock()
	wanted := func(pin jointoken.Pin) bool {
		return slices.ContainsFunc(k.wanted(), func(der []byte) bool { return jointoken.PinOfDER(der) == pin })
	}
	if err := authority.AddKey(k.Dir, ca, k.Table.Spent, wanted); err != nil {
		return err
	}
	k.Changed()
	return nil
}

// drop drops the keys that are spent, of former CAs, or all.
func (k Keys) drop(all bool) (dropped bool, err error) {
	k.Mutex.Lock()
	defer k.Mutex.Unlock()
	if all {
		err = authority.DeleteKey(k.Dir)
		dropped = err == nil
	} else {
		dropped, err = authority.DropKeys(k.Dir, k.Table.Spent)
	}
	if dropped {
		k.Changed()
	}
	return dropped, err
}
