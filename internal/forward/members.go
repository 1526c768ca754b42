package forward

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/peercall"
)

// membersPath is where a member says who else there is.
const membersPath = "/forward"

// callersHeader marks the requests of callers: what an agent without raft asks for itself
// is not for them. It says where they came from.
const callersHeader = "Interrex-Callers"

// whereabouts is what an agent without raft says of itself when it asks.
type whereabouts struct {
	Version string `json:"version,omitempty"`
}

// Members is what a member tells an agent without raft.
type Members struct {
	ID        string   `json:"id"`         // the member's own
	ClusterID string   `json:"cluster_id"` // of its cluster
	Addresses []string `json:"addresses"`  // the cluster addresses of all members
	LeaderID  string   `json:"leader_id,omitempty"`
	// LeaderAddress is the address of the leader's API.
	LeaderAddress string `json:"leader_address,omitempty"`
	Term          uint64 `json:"term"`
	// Authorities are the CAs that the cluster trusts, in DER, first the one that issues
	// certificates; none: they come from elsewhere. Renew is whether the agent that asks
	// is to renew its certificate, which is for the public key Key, in PKIX DER.
	Authorities [][]byte `json:"authorities,omitempty"`
	Renew       bool     `json:"renew,omitempty"`
	Key         []byte   `json:"key,omitempty"`
}

// Renews reports whether an agent without raft is to renew its certificate: it was asked
// to, or the CA that has issued it is not the cluster's any more.
func (m Members) Renews(present *x509.Certificate) bool {
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
func (m Members) Gone(pin jointoken.Pin) bool {
	return len(m.Authorities) > 0 && !slices.ContainsFunc(m.Authorities, func(der []byte) bool { return jointoken.PinOfDER(der) == pin })
}

// Serve serves, at a member, the agents without raft: tell returns what one is told. It
// returns the handler of all their requests: mux answers what they ask for themselves, and
// callers what they forward. may returns why an agent may not forward requests here; nil:
// it may.
func Serve(mux *http.ServeMux, callers http.Handler, may func(id string) error, tell func(id string) (*Members, error), logger interrex.Logger) http.Handler {
	peercall.Handle(mux, membersPath, func(_ context.Context, id string, _ *whereabouts) (*Members, error) {
		return tell(id)
	})
	mux.Handle("/", callers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		own := pattern != "/" && r.Header.Get(callersHeader) == ""
		id := peercall.PeerOf(r.Context())
		err := may(id)
		if err != nil {
			logger.Warningf("refused requests that an agent without raft forwards: %v", err)
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
			callers.ServeHTTP(w, r)
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
