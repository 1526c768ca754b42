package plainhttp

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// plainPeers serves /peers: who belongs to the cluster.
type plainPeers struct{ server *Server }

// Peers adds the path of /peers to mux.
func (s *Server) Peers(mux *http.ServeMux) {
	p := plainPeers{s}
	mux.HandleFunc("GET /peers", s.plain("", p.list))
	mux.HandleFunc("POST /peers", s.plain("", p.add))
	mux.HandleFunc("DELETE /peers", s.plain("", p.remove))
	mux.HandleFunc("/peers", onlyMethods("GET, POST, DELETE"))
}

// plainPeer is a member as /peers shows it.
type plainPeer struct {
	ID         string `json:"id"`
	Address    string `json:"address"`     // where other agents reach it; empty: not seen yet
	APIAddress string `json:"api_address"` // empty: not seen yet
	Suffrage   string `json:"suffrage"`    // voter, nonvoter; empty: not in raft's configuration
	Leader     bool   `json:"leader"`
}

func peerOf(m *interrexv1.Member) plainPeer {
	return plainPeer{m.GetId(), m.GetClusterAddress(), m.GetApiAddress(), m.GetSuffrage(), m.GetLeader()}
}

func (p plainPeers) list(w http.ResponseWriter, r *http.Request) error {
	m := &interrexv1.MemberServiceListRequest{}
	err := onlyQuery(r.URL.Query(), "consistency", "min_revision")
	if err == nil {
		m.Consistency, m.MinRevision, err = consistencyOf(r.URL.Query())
	}
	if err != nil {
		return err
	}
	made, err := p.server.operator.Do(r.Context(), interrexv1.MemberServiceListProcedure, m)
	if err != nil {
		return err
	}
	answer, peers := made.(*interrexv1.MemberServiceListResponse), []plainPeer{}
	for _, one := range answer.GetItems() {
		peers = append(peers, peerOf(one))
	}
	answered(w, answer.GetRevision(), map[string]any{"peers": peers})
	return nil
}

func (p plainPeers) add(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		ID      string `json:"id"`
		Address string `json:"address"`
	}
	if err := p.read(w, r, &q, `{"id":"n4","address":"10.0.0.4:7401"}`); err != nil {
		return err
	}
	m := &interrexv1.MemberServiceAddRequest{Id: q.ID, ClusterAddress: q.Address}
	if err := plainEnvelope(r, &m.RequestId, &m.Attempt, &m.Fence); err != nil {
		return err
	}
	made, err := p.server.operator.Do(r.Context(), interrexv1.MemberServiceAddProcedure, m)
	if err != nil {
		return err
	}
	answer := made.(*interrexv1.MemberServiceAddResponse)
	answered(w, answer.GetRevision(), map[string]any{"peer": peerOf(answer.GetMember())})
	return nil
}

func (p plainPeers) remove(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		ID string `json:"id"`
	}
	if err := p.read(w, r, &q, `{"id":"n4"}`); err != nil {
		return err
	}
	m := &interrexv1.MemberServiceRemoveRequest{Id: q.ID}
	if err := plainEnvelope(r, &m.RequestId, &m.Attempt, &m.Fence); err != nil {
		return err
	}
	made, err := p.server.operator.Do(r.Context(), interrexv1.MemberServiceRemoveProcedure, m)
	if err != nil {
		return err
	}
	revision := made.(*interrexv1.MemberServiceRemoveResponse).GetRevision()
	answered(w, revision, map[string]any{})
	return nil
}

// read reads the JSON object of a request's body, such as example.
func (p plainPeers) read(w http.ResponseWriter, r *http.Request, q any, example string) error {
	if err := onlyQuery(r.URL.Query()); err != nil {
		return err
	}
	body, err := plainBody(w, r)
	if err != nil {
		return err
	}
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(q); err != nil || in.More() {
		return interrex.Errorf(interrex.ErrInvalid, "body: give one object such as %s: %v", example, err)
	}
	return nil
}
