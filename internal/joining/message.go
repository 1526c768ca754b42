// Package joining owns the exchange with which an agent joins a cluster: it shows
// that it has a join token, and gets a certificate. It is one POST over TLS 1.3, in
// which only the member has a certificate; the joiner knows the pin of its CA.
package joining

import (
	"crypto/tls"
	"fmt"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/jointoken"
)

// Protocol is the exchange's name in ALPN. It is the only one of the cluster port
// that asks for no client certificate, and nothing else is spoken under it.
const Protocol = "interrex-join/1"

// path is where a member takes requests.
const path = "/join"

// maxBody bounds a request and an answer, in bytes.
const maxBody = 64 << 10

// request is what a joiner sends.
type request struct {
	ID    string `json:"id"`
	Token string `json:"token"` // its ID
	// CSR is the certificate request, in DER.
	CSR       []byte `json:"csr"`
	Signature []byte `json:"signature"`
	Former    []byte `json:"former,omitempty"`
	Forwards  bool   `json:"forwards,omitempty"` // whether it is to run without raft
	Held      *Held  `json:"held,omitempty"`
	// Incarnation is that of the directory that it runs with, unless that is set aside.
	Incarnation string `json:"incarnation,omitempty"`
}

// Held is what the directory of an agent has that was in a cluster before. It comes
// back only if the cluster does not count on that any more.
type Held struct {
	ClusterID   string         `json:"cluster_id"`
	Epoch       interrex.Epoch `json:"epoch"`
	Incarnation string         `json:"incarnation"`
}

// answer is what a member answers: a grant, where else to ask, or a refusal.
type answer struct {
	*Grant
	// Elsewhere are the cluster addresses of members that can issue certificates.
	Elsewhere []string `json:"elsewhere,omitempty"`
	Kind      string   `json:"kind,omitempty"`
	Message   string   `json:"message,omitempty"`
}

// Grant is what an agent that has joined gets.
type Grant struct {
	ClusterID string `json:"cluster_id"`
	// Anew reports whether the cluster does not count on what the agent's directory had.
	Anew bool `json:"anew"`
	// Certificate is its own, in DER, and Authorities are the CAs that it trusts.
	Certificate []byte   `json:"certificate"`
	Authorities [][]byte `json:"authorities"`
	// Members are the cluster addresses of those that it can dial.
	Members []string `json:"members"`
}

// session returns the exporter value of a TLS session.
func session(state *tls.ConnectionState) (s jointoken.Session, err error) {
	raw, err := state.ExportKeyingMaterial(jointoken.SessionLabel, nil, len(s))
	if err != nil {
		return s, fmt.Errorf("cannot export from the TLS session: %w", err)
	}
	copy(s[:], raw)
	return s, nil
}

// refusal returns the error in an answer; nil if there is none.
func (a answer) refusal() error {
	if a.Kind == "" {
		return nil
	}
	return interrex.Errorf(interrex.Kind(a.Kind), "%s", a.Message)
}
