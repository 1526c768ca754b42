package webhook_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/golden"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// goldenCommands are one of each, with every field set.
func goldenCommands() []state.Command {
	return []state.Command{
		&webhook.Set{Spec: spec("orders"), Secret: "0123456789abcdef"},
		&webhook.Delete{Name: "orders"},
		&webhook.Advance{Steps: []webhook.Step{
			{Name: "a", Created: 1, To: 300, SkippedFrom: 2, SkippedTo: 200, Skipped: 199}, {Name: "orders", Created: 2, To: 7},
		}},
	}
}

func TestEncodingOfCommandsStays(t *testing.T) {
	table := webhook.New()
	for _, c := range goldenCommands() {
		whole := c.Append(nil)
		golden.Check(t, c.About().Name, whole)
		back, err := table.Decode(whole)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%#v comes back as %#v, %v", c, back, err)
		}
		for n := range whole {
			if _, err := table.Decode(whole[:n]); interrex.KindOf(err) != interrex.ErrInvalid {
				t.Errorf("%d bytes of %s: %v", n, c.About().Name, err)
			}
		}
		if _, err := table.Decode(append(whole, 0)); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("one byte more than %s: %v", c.About().Name, err)
		}
	}
}

func TestEncodingOfSnapshotAndReplyStays(t *testing.T) {
	w := newWorld(t)
	reply := w.must(&webhook.Set{Spec: spec("a")}, "whsec_0123456789")
	w.must(goldenCommands()[0], "")
	w.must(goldenCommands()[2], "")
	golden.Check(t, "reply", w.table.AppendReply(nil, reply))
	golden.Check(t, "snapshot", snapshot(t, w.table))
	other := webhook.New()
	if err := other.Restore(1, bytes.NewReader(snapshot(t, w.table))); err != nil || !reflect.DeepEqual(other.Hooks(), w.table.Hooks()) {
		t.Errorf("it is restored as %v (%v)", other.Hooks(), err)
	}
}

func TestWhatIsDamagedIsNotRestored(t *testing.T) {
	w := newWorld(t)
	w.must(&webhook.Set{Spec: spec("a")}, "whsec_0123456789abcdef")
	one := snapshot(t, w.table)[1:]
	wrong := newWorld(t)
	bad := spec("a")
	bad.URL = "ftp://x"
	wrong.table.Apply(&state.Turn{}, &webhook.Set{Spec: bad})
	for name, b := range map[string][]byte{
		"twice":               slices.Concat([]byte{2}, one, one),
		"more than it says":   slices.Concat([]byte{1}, one, one),
		"less than it says":   slices.Concat([]byte{2}, one),
		"what may not be set": snapshot(t, wrong.table),
		"more hooks than fit": {limits.MaxWebhooks + 1},
		"nothing":             {},
	} {
		if err := w.table.Restore(1, bytes.NewReader(b)); err == nil || !strings.Contains(err.Error(), "cannot restore webhooks") || len(w.table.Hooks()) != 1 {
			t.Errorf("%s: %v, and %d hooks", name, err, len(w.table.Hooks()))
		}
	}
	if err := w.table.Restore(2, bytes.NewReader(snapshot(t, w.table))); err == nil || !strings.Contains(err.Error(), "unknown version 2") {
		t.Errorf("of another version: %v", err)
	}
	if _, err := w.table.Decode((&webhook.Set{Spec: bad}).Append(nil)); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a command that may not be: %v", err)
	}
}

func snapshot(t testing.TB, table *webhook.Table) []byte {
	t.Helper()
	var b bytes.Buffer
	view := table.Freeze()
	defer view.Release()
	if err := view.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func FuzzDecode(f *testing.F) {
	for _, c := range goldenCommands() {
		f.Add(c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := webhook.New().Decode(b)
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x comes back as %x", b, again)
		}
	})
}

func FuzzRestore(f *testing.F) {
	w := newWorld(f)
	w.must(goldenCommands()[0], "")
	seed := snapshot(f, w.table)
	if err := webhook.New().Restore(webhook.New().Version(), bytes.NewReader(seed)); err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		table := webhook.New()
		if err := table.Restore(table.Version(), bytes.NewReader(b)); err != nil {
			return
		}
		if again := snapshot(t, table); !bytes.Equal(again, b) {
			t.Errorf("%x comes back as %x", b, again)
		}
	})
}
