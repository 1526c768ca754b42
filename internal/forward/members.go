package forward

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/wire"
)

// membersPath is where a member says who else there is.
const membersPath = "/forward"

// callersHeader marks the requests of callers: what an agent without raft asks for itself
// is not for them. It says where they came from.
const callersHeader = "Interrex-Callers"

// leavePath is where an agent without raft has itself removed.
const leavePath = "/forward/leave"

// Whereabouts is what an agent without raft says of itself when it asks.
type Whereabouts struct {
	Version string `json:"version,omitempty"`
	// Trusts are the pins of the cluster's CAs that it trusts.
	Trusts []string `json:"trusts,omitempty"`
}

// Members is what a member tells an agent without raft.
type Members struct {
	ID        string `json:"id"`         // the member's own
	ClusterID string `json:"cluster_id"` // of its cluster
	// Epoch is that cluster's, and Revision how far this member has applied its log.
	Epoch     interrex.Epoch    `json:"epoch"`
	Revision  interrex.Revision `json:"revision"`
	Addresses []string          `json:"addresses"` // the cluster addresses of all members
	LeaderID  string            `json:"leader_id,omitempty"`
	// LeaderAddress is the address of the leader's API.
	LeaderAddress string `json:"leader_address,omitempty"`
	Term          uint64 `json:"term"`
	Orders
}

// Orders is what a member tells an agent without raft to do about its certificates.
type Orders struct {
	// Authorities are the CAs that the cluster trusts, in DER, first the one that issues
	// certificates; none: they come from elsewhere. Former are those that it is about to
	// forget, and Rotating is whether the CA is being rotated.
	Authorities [][]byte `json:"authorities,omitempty"`
	Former      [][]byte `json:"former,omitempty"`
	Rotating    bool     `json:"rotating,omitempty"`
	// Renew is whether the agent that asks is to renew its certificate, which is for the
	// public key Key, in PKIX DER.
	Renew bool   `json:"renew,omitempty"`
	Key   []byte `json:"key,omitempty"`
}

// Renews reports whether an agent without raft is to renew its certificate: it was asked
// to, or the CA that has issued it is not the cluster's any more.
func (m Orders) Renews(present *x509.Certificate) bool {
	if m.Renew && bytes.Equal(m.Key, present.RawSubjectPublicKeyInfo) {
		return true
	}
	if len(m.Authorities) == 0 {
		return false
	}
	ca, err := x509.ParseCertificate(m.Authorities[0])
	return err == nil && present.CheckSignatureFrom(ca) != nil
}

// Gone reports whether a CA is not trusted, or not any more.
func (m Orders) Gone(pin jointoken.Pin) bool {
	return len(m.Authorities) > 0 && !slices.ContainsFunc(m.Authorities, func(der []byte) bool { return jointoken.PinOfDER(der) == pin })
}

// MemberConfig is what a member needs to serve the agents without raft.
type MemberConfig struct {
	// Callers is the handler of the requests that they forward.
	Callers http.Handler
	// May returns why an agent may not forward requests here; nil: it may.
	May func(id string) error
	// Tell returns what an agent is told; from is what it says of itself.
	Tell func(id string, from *Whereabouts) (*Members, error)
	// Remove removes an agent from the cluster, within ctx.
	Remove func(ctx context.Context, id string) error
	// Epoch returns the cluster's epoch, as it is known here.
	Epoch  func() interrex.Epoch
	Logger interrex.Logger
}

// Serve returns the handler of all requests of the agents without raft: mux answers what
// they ask for themselves.
func Serve(mux *http.ServeMux, c MemberConfig) http.Handler {
	peercall.Handle(mux, membersPath, func(_ context.Context, id string, q *Whereabouts) (*Members, error) {
		return c.Tell(id, q)
	})
	peercall.Handle(mux, leavePath, func(ctx context.Context, id string, _ *struct{}) (*struct{}, error) {
		err := c.Remove(ctx, id)
		if err == nil {
			c.Logger.Infof("agent %s, which runs without raft, has left the cluster", id)
		}
		return new(struct{}), err
	})
	mux.Handle("/", c.Callers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		own := pattern != "/" && r.Header.Get(callersHeader) == ""
		id := peercall.PeerOf(r.Context())
		err := c.May(id)
		if err == nil {
			err = c.present(r.Header.Get(wire.HeaderEpoch))
		}
		if err != nil {
			c.Logger.Warningf("refused requests that an agent without raft forwards: %v", err)
		}
		switch {
		case err != nil && own:
			peercall.Reply(w, nil, err)
		case err != nil:
			admission.Refuse(w, r, err)
		case own:
			mux.ServeHTTP(w, r)
		default:
			r.RemoteAddr = cameFrom(r.Header.Get(callersHeader), id)
			c.Callers.ServeHTTP(w, r.WithContext(admission.WithForwarder(r.Context(), id)))
		}
	})
}

// cameFrom returns where a request that an agent forwards came from: what that agent
// says, if it can be that, else its ID.
func cameFrom(said, id string) string {
	if _, err := netip.ParseAddrPort(said); err == nil {
		return said
	}
	return id
}

// present returns an error if an agent knows of a later epoch than this member: then a
// recovery has left the member behind.
func (c MemberConfig) present(known string) error {
	text, _, _ := strings.Cut(known, "-")
	number, err := strconv.ParseUint(text, 10, 64)
	if here := c.Epoch(); err == nil && known != here.String() && number >= here.Number {
		return interrex.Errorf(interrex.ErrUnavailable, "this member is in epoch %s of the cluster, and the agent forwards requests to epoch %s: the cluster was recovered without this member", here, known)
	}
	return nil
}
