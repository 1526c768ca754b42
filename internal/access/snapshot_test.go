package access_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"testing"
	"testing/iotest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
)

// restore replaces the content by another table's.
func (w *world) restore(from *access.Table) {
	w.Helper()
	var b bytes.Buffer
	view := from.Freeze()
	defer view.Release()
	if err := errors.Join(view.Write(&b), w.Restore(1, &b)); err != nil {
		w.Fatal(err)
	}
}

// A restore may go back to before the first token.
func TestARestoreOpensTheAPIAgain(t *testing.T) {
	w, empty := &world{T: t, Table: access.New()}, access.New()
	was, _ := w.Open()
	w.restore(empty)
	if now, open := w.Open(); !open || now != was || was.Err() != nil {
		t.Error("it was open, and what had begun then would not end with the first token")
	}
	w.must(create(1, "ann"))
	w.restore(empty)
	if now, open := w.Open(); !open || now.Err() != nil || was.Err() == nil || len(w.Tokens()) != 0 {
		t.Errorf("it is open: %v, with %d tokens", open, len(w.Tokens()))
	}
	w.must(create(1, "ann"))
	if now, open := w.Open(); open || now.Err() == nil {
		t.Error("it stays open after a further token")
	}
}

func TestARestoreEndsWhatIsNotInIt(t *testing.T) {
	w, other := &world{T: t, Table: access.New()}, &world{T: t, Table: access.New()}
	w.must(create(1, "ann"))
	other.must(create(1, "ann"))
	other.must(create(2, "bob"))
	stays, goes := other.grant(1), other.grant(2)
	other.restore(w.Table)
	if stays.Valid.Err() != nil || goes.Valid.Err() == nil {
		t.Errorf("the one that stays: %v; the other: %v", stays.Valid.Err(), goes.Valid.Err())
	}
}

func TestARestoreEndsWhatIsOtherwiseInIt(t *testing.T) {
	longer := create(1, "ann")
	longer.Hash[len(longer.Hash)-1]++
	verb := rules[0]
	verb.Verbs = []string{"claim"}
	for what, c := range map[string]*access.Create{
		"another hash": longer,
		"another name": create(1, "bob"),
		"an operator":  {Hash: numbered(1).Hash(), Name: "ann", Operator: true},
		"other rules":  {Hash: numbered(1).Hash(), Name: "ann", Rules: []interrex.AccessRule{verb}},
		"more rules":   {Hash: numbered(1).Hash(), Name: "ann", Rules: append([]interrex.AccessRule{verb}, rules...)},
	} {
		w, other := &world{T: t, Table: access.New()}, &world{T: t, Table: access.New()}
		w.must(c)
		other.must(create(1, "ann"))
		was := other.grant(1)
		if other.restore(w.Table); was.Valid.Err() == nil {
			t.Errorf("%s: what was granted before goes on", what)
		}
	}
}

func TestARestoreIsWhole(t *testing.T) {
	w, other := &world{T: t, Table: access.New()}, &world{T: t, Table: access.New()}
	w.must(&access.Create{Hash: numbered(1).Hash(), Name: "op", Operator: true, TTL: time.Hour})
	w.must(create(2, "ann"))
	other.restore(w.Table)
	if !reflect.DeepEqual(other.Tokens(), w.Tokens()) || !other.grant(1).Operator {
		t.Errorf("restored are %+v, want %+v", other.Tokens(), w.Tokens())
	}
}

func TestABadSnapshotChangesNothing(t *testing.T) {
	w, other := &world{T: t, Table: access.New()}, &world{T: t, Table: access.New()}
	w.must(create(1, "ann"))
	other.must(create(2, "bob"))
	var b bytes.Buffer
	if err := w.Freeze().Write(&b); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	twice := append([]byte{good[0], 2}, append(bytes.Clone(good[2:]), good[2:]...)...)
	for what, err := range map[string]error{
		"another version": other.Restore(2, bytes.NewReader(good)),
		"a broken file":   other.Restore(1, io.MultiReader(bytes.NewReader(good), iotest.ErrReader(io.ErrUnexpectedEOF))),
		"a token twice":   other.Restore(1, bytes.NewReader(twice)),
		"cut":             other.Restore(1, bytes.NewReader(good[:len(good)-1])),
		"too many tokens": other.Restore(1, bytes.NewReader(append([]byte{1}, binary.AppendUvarint(nil, access.MaxTokens+1)...))),
	} {
		if err == nil || len(other.Tokens()) != 1 || other.grant(2).Valid.Err() != nil {
			t.Errorf("%s: %v, and there are %v", what, err, other.Tokens())
		}
	}
	broken, to := io.Pipe()
	broken.Close()
	if err := w.Freeze().Write(to); err == nil {
		t.Error("a snapshot that cannot be written is not an error")
	}
}
