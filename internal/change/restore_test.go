package change

import (
	"bytes"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

func TestARestoredFeedKeepsItsAgesAndEndsLongPolls(t *testing.T) {
	saved := state.Time(30 * 24 * time.Hour) // by the clock of another cluster
	from := New()
	from.UseCodecs(func(state.TableID) state.EventCodec { return nil })
	from.Record(saved, 7, []state.Event{{Revision: 7, Kind: "k", Now: saved.Add(-6 * 24 * time.Hour)}})
	var file bytes.Buffer
	if err := from.Freeze().Write(&file); err != nil {
		t.Fatal(err)
	}
	f := New()
	f.UseCodecs(from.codec)
	f.Record(1, 3, []state.Event{{Revision: 3, Kind: "k"}})
	polled := make(chan error, 2)
	for _, since := range []interrex.Revision{0, 3} {
		go func() {
			_, err := f.Await(t.Context(), Query{Since: since, Kinds: []string{"none"}, Limit: 1, Bytes: 1})
			polled <- err
		}()
	}
	for end := time.Now().Add(30 * time.Second); f.Waiting() < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	staged, err := f.Stage(f.Version(), bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	now := state.Time(time.Minute)
	f.Lock()
	f.Replace(&state.Turn{Revision: 9, Now: now}, staged, saved)
	f.Unlock()
	for range 2 {
		select {
		case err := <-polled:
			if interrex.KindOf(err) != interrex.ErrCompacted {
				t.Errorf("a long poll ends with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a long poll goes on")
		}
	}
	if p, err := f.Read(Query{Limit: 9, Bytes: 9}); err != nil || len(p.Items) != 1 || p.Revision != 9 || p.Items[0].Now != now.Add(-6*24*time.Hour) {
		t.Errorf("%+v, %v", p, err)
	}
	for i, at := range []time.Duration{23 * time.Hour, 25 * time.Hour} {
		f.Record(now.Add(at), 9, nil)
		if n, _ := f.Kept(); n != 1-i {
			t.Errorf("%d changes are kept after %s", n, at)
		}
	}
}
