package apiserver

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

func recovery() *machine.Recover {
	return &machine.Recover{ClusterID: strings.Repeat("ab", 16), Bits: 7, Survivor: "a", Incarnation: "disk"}
}

// Only a recovery writes to a log that no raft uses.
func TestNoCallerRecovers(t *testing.T) {
	nd := cluster(t, 1)[0]
	data := base64.StdEncoding.EncodeToString(recovery().Append(nil))
	for _, table := range []string{"", `"table":0,`, `"table":65536,`} {
		if r := nd.curl("StateService/Propose", `{`+table+`"data":"`+data+`"}`); r.status != 400 {
			t.Errorf("table %q: %d %s", table, r.status, r.body)
		}
	}
	for _, m := range nd.server.methods.Methods {
		if m.Command == nil {
			continue
		}
		empty, err := m.Decode(nil)
		nd.must(err)
		if _, c, _ := m.Command(empty, nd.state); c != nil && c.About().Name == recovery().About().Name {
			t.Errorf("%s recovers", m.Procedure)
		}
	}
	if nd.state.Loss().To != 0 {
		t.Error("it was done")
	}
}

// The entries after the proven part of the log have not happened: no reader may
// continue from there as if nothing was lost.
func TestAPositionThatARecoveryHasLostIsCompacted(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/one", "ann")
	nd.claimed("jobs/two", "ann")
	entry := (&machine.Entry{Stamp: nd.state.Now(), Wall: time.Now(), Operations: []state.Operation{{Table: machine.SystemTable, Data: recovery().Append(nil)}}}).Append(nil)
	nd.must(nd.raft.Apply(entry, time.Minute).Error())
	loss := nd.state.Loss()
	if loss.From != 2 || nd.state.Revision() != loss.To+2 {
		t.Fatalf("%+v, revision %d", loss, nd.state.Revision())
	}
	for since, lost := range map[interrex.Revision]bool{2: false, 3: true, loss.To - 1: true, loss.To: false} {
		s := nd.watches()
		s.open(1, 10, &interrexv1.WatchRequest{Since: uint64(since)})
		w := nd.watch(&interrexv1.WatchRequest{Since: uint64(since)})
		got := w.s.Receive()
		r := nd.curl("ChangeService/List", fmt.Sprintf(`{"since":"%d"}`, since))
		plain := nd.kv("GET", fmt.Sprintf("/changes?since=%d&kind=lease.forced", since), "")
		if !lost {
			if s.refused[1] != nil || !got || w.s.Msg().GetEvents()[0].GetKind() != interrex.LeaseForced || r.status != 200 || !strings.Contains(plain.body, "lease.forced") {
				t.Errorf("since %d: %v, %v, %s, %s", since, s.refused[1], w.s.Err(), r.body, plain.body)
			}
			continue
		}
		err, is := wire.FromError(w.s.Err(), false).(*interrex.Error)
		if got || !is || err.Kind != interrex.ErrCompacted || err.FirstRevision != loss.From || s.refused[1].GetKind() != "compacted" || r.status != 400 || plain.status != 410 {
			t.Errorf("since %d: %v, %v, %s, %s", since, s.refused[1], w.s.Err(), r.body, plain.body)
		}
	}
}
