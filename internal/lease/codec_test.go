package lease_test

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/golden"
	"github.com/interrex/interrex/internal/lease"
)

// goldenCommands are one of each, with every field set.
func goldenCommands() []command {
	k := key("team/db/1")
	return []command{
		&lease.Claim{Key: k, Holder: "ann", TTL: 15 * time.Second, Takeover: true, Metadata: must(codec.NewMetadata(map[string]string{"zone": "a", "addr": "[::1]:80"}))},
		&lease.Extend{Key: k, Token: 300, TTL: time.Second},
		&lease.Revoke{Key: k, Token: 300, Force: true},
		&lease.Transfer{Key: k, Token: 300, To: "bob", TTL: 24 * time.Hour},
		&lease.Pin{Key: k, Owner: "ops", Reason: "upgrade", For: time.Minute},
		&lease.Unpin{Key: k, Owner: "ops"},
	}
}

func TestEncodingOfCommandsStays(t *testing.T) {
	for _, c := range goldenCommands() {
		name := c.About().Name
		golden.Check(t, name, c.Append(nil))
		back, err := decode(c.Append(nil))
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%#v comes back as %#v, %v", c, back, err)
		}
	}
}

// goldenWorld has a lease of every shape, and histories.
func goldenWorld(t testing.TB) *world {
	w := newWorld(t)
	w.now = 1_500_000_000
	for _, c := range append(goldenCommands(),
		&lease.Claim{Key: key("team/db/1"), Holder: "ann", TTL: time.Second},
		&lease.Pin{Key: key("team/db/1"), Owner: "ops", Reason: "upgrade"},
		&lease.Pin{Key: key("team/db/1"), Owner: "backup", For: time.Hour},
		&lease.Claim{Key: key("api"), Holder: "bob", TTL: time.Minute, Metadata: must(codec.NewMetadata(map[string]string{"pid": "1"}))},
		&lease.Claim{Key: key("api"), Holder: "bob", TTL: time.Minute, Takeover: true},
		&lease.Claim{Key: key("gone"), Holder: "cy", TTL: time.Second},
	) {
		if _, err := w.do(c); err != nil && interrex.KindOf(err) != interrex.ErrNotHeld && interrex.KindOf(err) != interrex.ErrNotFound {
			t.Fatal(err)
		}
	}
	w.now = 3_000_000_000
	w.tick(10)
	return w
}

func TestEncodingOfSnapshotAndReplyStays(t *testing.T) {
	w := goldenWorld(t)
	golden.Check(t, "snapshot", w.snapshot())
	reply, err := w.do(&lease.Pin{Key: key("team/db/1"), Owner: "ops", Reason: "again", For: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "reply", w.table.AppendReply(nil, reply))
	w.recover()
	golden.Check(t, "recovered", w.snapshot())
}

func TestCommandThatIsCutOrLongerIsInvalid(t *testing.T) {
	for _, c := range goldenCommands() {
		whole := c.Append(nil)
		for n := range whole {
			if _, err := decode(whole[:n]); interrex.KindOf(err) != interrex.ErrInvalid {
				t.Errorf("%d bytes of %#v: %v", n, c, err)
			}
		}
		if _, err := decode(append(whole, 0)); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("one byte more than %#v: %v", c, err)
		}
	}
	if _, err := decode([]byte{99, 0}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("unknown operation: %v", err)
	}
}

func TestDecodeRefusesWhatTheRulesDoNotAllow(t *testing.T) {
	k, long := key("db"), strings.Repeat("x", 5000)
	for _, c := range []command{
		&lease.Claim{Key: interrex.Key{Namespace: "A", Name: "x"}, Holder: "ann", TTL: time.Second},
		&lease.Claim{Key: interrex.Key{Namespace: "a", Name: "x\x00y"}, Holder: "ann", TTL: time.Second},
		&lease.Claim{Key: k, Holder: long, TTL: time.Second},
		&lease.Claim{Key: k, Holder: "ann", TTL: -1},
		&lease.Claim{Key: k, Holder: "ann"},
		&lease.Extend{Key: k},
		&lease.Extend{Key: k, Token: 1, TTL: 1},
		&lease.Revoke{Key: k},
		&lease.Transfer{Key: k, Token: 1},
		&lease.Pin{Key: k},
		&lease.Pin{Key: k, Owner: "ops", Reason: "\xff"},
		&lease.Pin{Key: k, Owner: "ops", For: -1},
		&lease.Unpin{Key: k},
	} {
		if _, err := decode(c.Append(nil)); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%#v: %v", c, err)
		}
	}
	if _, err := decode((&lease.Pin{Key: k, Owner: "ops", Reason: long}).Append(nil)); interrex.KindOf(err) != interrex.ErrTooLarge {
		t.Errorf("long reason: %v", err)
	}
}

func TestMetadataMustBeUTF8WithoutControlCharacters(t *testing.T) {
	for k, v := range map[string]string{"\xff": "v", "k": "\xff", "a\nb": "v", "l": "\x1b[2J", "m": "\u202e"} {
		if _, err := codec.NewMetadata(map[string]string{k: v}); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%q=%q: %v", k, v, err)
		}
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	w := goldenWorld(t)
	whole := w.snapshot()
	keep := lease.New()
	if err := keep.Restore(2, bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if keep.Restore(2, bytes.NewReader(whole[:n])) == nil {
			t.Errorf("%d of %d bytes are taken for a snapshot", n, len(whole))
		}
	}
	if keep.Restore(2, bytes.NewReader(append(whole, 0))) == nil {
		t.Error("one byte more is taken for a snapshot")
	}
	for _, other := range []uint16{0, 1, 3} {
		if keep.Restore(other, bytes.NewReader(whole)) == nil {
			t.Errorf("version %d is taken for this one", other)
		}
	}
	w.table = keep
	if !bytes.Equal(w.snapshot(), whole) {
		t.Error("a restore that failed has changed the table")
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range goldenCommands() {
		f.Add(c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data)
		if err != nil {
			if k := interrex.KindOf(err); k != interrex.ErrInvalid && k != interrex.ErrTooLarge {
				t.Fatalf("kind %q: %v", k, err)
			}
			return
		}
		if back := c.(command).Append(nil); !bytes.Equal(back, data) {
			t.Fatalf("%x decodes to %#v, which is %x", data, c, back)
		}
		w := newWorld(t)
		w.do(c.(command)) //nolint:errcheck // it may be refused; it may not panic
	})
}

func FuzzRestore(f *testing.F) {
	seed := goldenWorld(f).snapshot()
	if err := lease.New().Restore(lease.New().Version(), bytes.NewReader(seed)); err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		table := lease.New()
		if table.Restore(table.Version(), bytes.NewReader(data)) != nil {
			return
		}
		w := newWorld(t)
		w.table = table
		w.restart()
		w.now = math.MaxInt64
		for w.table.CanExpire() {
			if w.tick(1000) == 0 {
				t.Fatal("due, and nothing ends")
			}
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	w := goldenWorld(f)
	reply, err := w.do(&lease.Claim{Key: key("new"), Holder: "ann", TTL: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(w.table.AppendReply(nil, reply))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := w.table.DecodeReply(data)
		if err == nil && !bytes.Equal(w.table.AppendReply(nil, r), data) {
			t.Fatalf("%x decodes to %+v, which is other bytes", data, r)
		}
	})
}
