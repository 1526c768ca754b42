package joining

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// Timeout bounds one exchange, at both ends.
const Timeout = 15 * time.Second

// maxAtOnce is the number of exchanges at one time; there is a queue in front of it
// only in the limits of connections.
const maxAtOnce = 8

// HandlerConfig is the configuration of a Handler.
type HandlerConfig struct {
	Table *member.Table
	// Now returns the cluster time, Wall the clock of this machine.
	Now  func() state.Time
	Wall func() time.Time
	// Admit has an agent admitted, through the leader, within ctx. It returns the CAs
	// that the cluster trusted then, in DER, first the one that issues certificates.
	Admit func(ctx context.Context, c *member.Admit) ([][]byte, error)
	// Authority returns the authority with a certificate, in DER; fs.ErrNotExist: its key
	// is not here.
	Authority func(der []byte) (*authority.Authority, error)
	// ClusterID returns the cluster's ID, and Epoch its epoch; empty: this agent is in
	// none yet.
	ClusterID func() string
	Epoch     func() interrex.Epoch
	// Voters and Members return the cluster addresses of other voters, and of all
	// agents that can be dialled.
	Voters, Members func() []string
	// Session returns the TLS session of a request.
	Session func(ctx context.Context) *tls.ConnectionState
	Logger  interrex.Logger
}

// NewHandler returns the handler of a member.
func NewHandler(c HandlerConfig) http.Handler {
	mux := http.NewServeMux()
	slots := make(chan struct{}, maxAtOnce)
	refusals := inbound.NewRefusals(c.Logger) // anybody may ask
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), Timeout)
		defer cancel()
		var a answer
		q, err := c.read(w, r)
		if err == nil { // only then: a peer that sends nothing takes no slot
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }() // also if it panics
				a, err = c.join(ctx, q)
			default:
				err = interrex.Errorf(interrex.ErrOverloaded, "%d agents are joining here at the moment: try again", maxAtOnce)
			}
		}
		if err != nil {
			refusals.Note(hostOf(r), err, "refused to let an agent join, from %s", r.RemoteAddr)
		}
		peercall.Reply(w, a, err)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		err := interrex.Errorf(interrex.ErrInvalid, "%s %s: agents join here, with POST %s, and nothing else is served: 'interrex agent join' does it", r.Method, wording.Line(r.URL.Path, 80), path)
		refusals.Note(hostOf(r), err, "refused a request at the place where agents join, from %s", r.RemoteAddr)
		peercall.Reply(w, answer{}, err)
	})
	return mux
}

// hostOf returns the host that a request comes from.
func hostOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // the server made it
	return host
}

// read reads the request of a peer that has proved nothing yet.
func (c HandlerConfig) read(w http.ResponseWriter, r *http.Request) (*request, error) {
	if err := http.NewResponseController(w).SetReadDeadline(c.Wall().Add(Timeout)); err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot bound the time of the request: %v", err)
	}
	var q request
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot read the request to join: %v", err)
	}
	return &q, nil
}

// join admits an agent and issues its certificate.
func (c HandlerConfig) join(ctx context.Context, q *request) (answer, error) {
	csr, admit, err := c.check(ctx, q)
	if err != nil {
		return answer{}, err
	}
	if _, err := c.Authority([]byte(c.Table.CA())); errors.Is(err, fs.ErrNotExist) {
		return c.elsewhere()
	}
	authorities, err := c.Admit(ctx, admit)
	if err != nil {
		return answer{}, err
	}
	if len(authorities) == 0 {
		return answer{}, interrex.Errorf(interrex.ErrUnavailable, "the leader's answer has no CA: it runs another version")
	}
	ca, err := c.Authority(authorities[0]) // another one, if the CA is being rotated
	if errors.Is(err, fs.ErrNotExist) {
		return c.elsewhere()
	}
	if err != nil {
		return answer{}, interrex.Errorf(interrex.ErrUnavailable, "%v", err)
	}
	anew := !c.counts(q.ID, q.Held)
	cert, err := ca.Issue(csr, q.ID, c.Wall())
	if err != nil {
		return answer{}, interrex.Errorf(interrex.ErrUnavailable, "%v", err)
	}
	c.Logger.Infof("agent %s has joined with the join token %s", q.ID, q.Token)
	return answer{Grant: &Grant{
		ClusterID: c.ClusterID(), Anew: anew, Certificate: cert, Authorities: authorities, Members: c.Members(),
	}}, nil
}

// elsewhere is the answer of a member without the CA's key.
func (c HandlerConfig) elsewhere() (answer, error) {
	voters := c.Voters()
	if len(voters) == 0 {
		return answer{}, interrex.Errorf(interrex.ErrUnavailable, "this agent does not have the CA's key, and knows no address of an agent that may have it")
	}
	return answer{Elsewhere: voters}, nil
}

// check checks a request before anything is proposed, and returns what is.
func (c HandlerConfig) check(ctx context.Context, q *request) (*x509.CertificateRequest, *member.Admit, error) {
	switch {
	case c.ClusterID() == "":
		return nil, nil, interrex.Errorf(interrex.ErrUnavailable, "this agent is in no cluster yet")
	case c.Table.CA() == "":
		return nil, nil, interrex.Errorf(interrex.ErrDisabled, "this cluster has no CA of its own: give the agent a certificate of the CA that its agents have, and cluster.join")
	}
	csr, err := x509.ParseCertificateRequest(q.CSR)
	if err == nil {
		err = authority.CheckRequest(csr, q.ID)
	}
	if err != nil {
		return nil, nil, interrex.Errorf(interrex.ErrInvalid, "csr: it is not an agent's certificate request: %v", err)
	}
	state := c.Session(ctx)
	if state == nil {
		return nil, nil, interrex.Errorf(interrex.ErrInvalid, "the request did not come over TLS")
	}
	id, err := session(state)
	if err != nil {
		return nil, nil, interrex.Errorf(interrex.ErrInvalid, "%v", err)
	}
	sum := sha256.Sum256(q.CSR)
	admit := &member.Admit{
		ID: q.ID, Token: q.Token, Key: string(csr.RawSubjectPublicKeyInfo), Session: string(id[:]), Request: string(sum[:]),
		Signature: string(q.Signature), Former: string(q.Former), Incarnation: q.Incarnation, Forwards: q.Forwards,
	}
	if err := admit.Validate(); err != nil {
		return nil, nil, err
	}
	if err := c.checkHeld(q.ID, q.Held); err != nil {
		return nil, nil, err
	}
	return csr, admit, admit.Check(c.Table, c.Now())
}

// checkHeld returns why an agent must not set aside what its directory has.
func (c HandlerConfig) checkHeld(id string, h *Held) error {
	switch {
	case h == nil:
		return nil
	case h.ClusterID != c.ClusterID():
		return interrex.Errorf(interrex.ErrConflict, "the data directory of agent %s belongs to the cluster %s, and this is %s: give it an empty one", id, h.ClusterID, c.ClusterID())
	case h.Epoch.Number > c.Epoch().Number:
		return interrex.Errorf(interrex.ErrConflict, "the data directory of agent %s is in epoch %d of the cluster, and this agent in %d: it is this one that was left behind by a recovery", id, h.Epoch.Number, c.Epoch().Number)
	}
	return nil
}

// counts reports whether the cluster counts on what an agent's directory has.
func (c HandlerConfig) counts(id string, h *Held) bool {
	return h != nil && h.Epoch == c.Epoch() && !c.Table.Removed(id, h.Incarnation)
}
