package apiserver

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/interrex/interrex/internal/hookcaller"
)

func TestAHookIsAskedOnceAboutAGroupAndVetoesAllOfIt(t *testing.T) {
	_, f := follower(t, cluster(t, 3, withHooks(t)))
	var allow atomic.Bool
	g := newGuard(t, func(hookcaller.Question) int {
		if allow.Load() {
			return 200
		}
		return 403
	})
	f.setHook("guard", g.url, `,"kinds":["user"]`)
	group := func(id string) reply {
		return f.curl("StateService/Group", `{"request_id":"`+id+`","operations":[
			{"@type":"type.googleapis.com/interrex.v1.ClaimRequest","key":"db","holder":"ann"},
			{"@type":"type.googleapis.com/interrex.v1.ChangeServiceAppendRequest","data":{"a":1}}]}`)
	}
	if r := group("r1"); r.status != 403 || r.kind() != "vetoed" || !strings.Contains(r.body, "webhook guard") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := g.asked.Load(); n != 1 {
		t.Fatalf("it was asked %d times", n)
	}
	if q := g.body(0); len(q.Operations) != 2 || q.Operations[0].Kind != "lease.claimed" || q.Operations[0].Key != "default/db" || q.Operations[1].Kind != "user" {
		t.Errorf("%+v", q)
	}
	if r := f.curl("LeaseService/Get", `{"key":"db"}`); r.status != 404 {
		t.Errorf("the claim was done: %s", r.body)
	}
	allow.Store(true)
	first := group("r2")
	if first.status != 200 {
		t.Fatalf("%d %s", first.status, first.body)
	}
	// A repeated attempt is answered from its record, without a call.
	allow.Store(false)
	if again := group("r2"); again.status != 200 || !strings.Contains(again.body, `"replayed":true`) {
		t.Errorf("%d %s", again.status, again.body)
	}
	if n := g.asked.Load(); n != 2 {
		t.Errorf("it was asked %d times", n)
	}
}
