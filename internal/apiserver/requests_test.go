package apiserver

import (
	"fmt"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Any agent answers what can no longer be done, also one that forwards all else.
func TestWhatIsOverDoesNotEnterTheLog(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	claim := l.curl("LeaseService/Claim", `{"key":"jobs/over","holder":"ann"}`)
	token := claim.at("lease", "token")
	if r := l.curl("LeaseService/Revoke", `{"key":"jobs/over","force":true}`); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	at := l.state.Revision()
	f.waitFor(func() bool { return f.state.Revision() >= at })
	before, _ := l.state.Applied()
	for _, nd := range []*node{f, l} {
		for method, body := range map[string]string{
			"Extend": `{"key":"jobs/over","token":"%v"}`, "Revoke": `{"key":"jobs/over","token":"%v"}`, "Transfer": `{"key":"jobs/over","token":"%v","to":"bob","request_id":""}`,
			"Claim": `{"key":"jobs/other","holder":"bob","fence":{"key":"jobs/over","token":"%v"}}`,
		} {
			if r := nd.curl("LeaseService/"+method, fmt.Sprintf(body, token)); r.kind() != "not held" {
				t.Errorf("%s at %s: %d %s", method, nd.id, r.status, r.body)
			}
		}
		s := nd.stream(t.Context(), nd.url)
		gone := claimOp(1, "jobs/other", "bob")
		gone.RequestId, gone.Mark = "1-0000000000000001.1", 1
		s.send(gone)
		if a := s.answers(1)[1]; a.GetError().GetKind() != string(interrex.ErrNameGone) {
			t.Errorf("a name that is not there, at %s: %v", nd.id, a)
		}
	}
	if after, _ := l.state.Applied(); after != before {
		t.Errorf("%d entries were written", after-before)
	}
}

// What is kept counts in the share of the address that the first agent has seen.
func TestTheAddressOfACallerReachesTheLog(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	if r := f.curl("LeaseService/Claim", `{"key":"jobs/a","holder":"ann","request_id":"mine"}`); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	s := f.stream(t.Context(), f.url)
	s.send(op(1, interrexv1.StateServiceOpenNameProcedure, &interrexv1.OpenNameRequest{Bits: 7}))
	opened := as[interrexv1.OpenNameResponse](t, s.answers(1)[1])
	if opened.GetName() == "" || opened.GetRevision() == 0 {
		t.Fatalf("%v", opened)
	}
	all := l.state.RequestShares("", 10)
	if len(all.Items) != 1 || all.Items[0].User.Address != "127.0.0.1" || all.Items[0].Names != 1 || all.Items[0].Records != 1 {
		t.Errorf("%+v", all)
	}
	s.send(op(2, interrexv1.StateServiceRetireProcedure, &interrexv1.RetireRequest{Name: opened.GetName(), Mark: 1}))
	as[interrexv1.RetireResponse](t, s.answers(1)[2])
	if all := l.state.RequestShares("", 10); len(all.Items) != 1 || all.Items[0].Names != 0 {
		t.Errorf("afterwards there is %+v", all)
	}
}

func TestAnyCallerOpensNamesAndOperatorsSeeThem(t *testing.T) {
	n := closedAPI(t)
	_, op := n.token("op")
	_, ann := n.token("ann", "lease:claim:web/*")
	call := func(by, method, body string) reply {
		return n.kv("POST", "/interrex.v1.StateService/"+method, body, "Authorization: "+by, "Content-Type: application/json")
	}
	n.expect(call(ann, "OpenName", `{"bits":"7"}`), 200, `"name":"`)
	n.expect(call(ann, "OpenName", `{}`), 400, "give 64 random bits")
	n.expect(call(ann, "ListRequests", `{}`), 403, "only an operator may ")
	n.expect(call(ann, "DropRequests", `{"caller":"op"}`), 403, "only an operator may ")
	n.expect(call(op, "ListRequests", `{}`), 200, `"caller":"ann"`)
	n.expect(call(op, "ListRequests", `{"page_token":"?"}`), 400, "page_token")
	n.expect(call(op, "DropRequests", `{"caller":"ann"}`), 200, `"revision"`)
	n.expect(call(op, "DropRequests", `{"caller":"ann"}`), 404, "neither names nor records")
	n.expect(call(op, "DropRequests", `{"caller":"a","address":"b"}`), 400, "not both")
}

// What a caller says it knew arrives with its request, and must be a number.
func TestWhatACallerKnewProtectsItsID(t *testing.T) {
	nd := cluster(t, 1)[0]
	ask := func(known string) reply {
		return nd.kv("POST", "/interrex.v1.LeaseService/Claim", `{"key":"jobs/a","holder":"ann","request_id":"mine"}`, "Content-Type: application/json", wire.HeaderKnown+": "+known)
	}
	if r := nd.curl("LeaseService/Claim", `{"key":"jobs/first","holder":"ann"}`); r.at("revision") != "1" {
		t.Fatalf("%s", r.body)
	}
	nd.expect(ask("x"), 400, "is not a revision")
	nd.expect(ask("1"), 200, `"replayed":false`)
	nd.expect(ask("1"), 200, `"replayed":true`)
	if r := nd.curl("StateService/DropRequests", `{"address":"127.0.0.1"}`); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	nd.expect(ask("1"), 500, "outcome unknown")
}
