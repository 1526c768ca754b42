package client

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
)

// hands is a clock that a test moves.
type hands struct{ now time.Duration }

func (h *hands) Now() time.Duration { return h.now }

func taken(t *testing.T, id string) (text string, number uint64) {
	t.Helper()
	text, digits, found := strings.Cut(id, ".")
	number, err := strconv.ParseUint(digits, 10, 64)
	if !found || err != nil || len(id) > limits.MaxRequestID {
		t.Fatalf("%q is no id of the form NAME.N", id)
	}
	return text, number
}

// Any order of opening and closing keeps the rules: numbers are used once, an open
// one is never below its name's mark, none is a window or more above it, everything
// below it is closed, and a waiting claim is the only request under its name.
func TestMarksKeepTheRules(t *testing.T) {
	type open struct {
		id    string
		waits bool
		done  func()
	}
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		clock := &hands{}
		s := newNames(clock)
		used, lowest := map[string]bool{}, map[string]uint64{}
		var opened []open
		for range 4_000 {
			if rnd.IntN(100) < 52 {
				waits := rnd.IntN(10) == 0
				id, done, err := s.Open(waits)
				if err != nil {
					if waits || !errors.Is(err, interrex.ErrOverloaded) {
						t.Fatalf("seed %d: %v", seed, err)
					}
					continue
				}
				if used[id] {
					t.Fatalf("seed %d: %s twice", seed, id)
				}
				used[id] = true
				opened = append(opened, open{id, waits, done})
			} else if len(opened) > 0 {
				i := rnd.IntN(len(opened))
				opened[i].done()
				opened[i] = opened[len(opened)-1]
				opened = opened[:len(opened)-1]
			}
			clear(lowest)
			waiting := map[string]int{}
			for _, o := range opened {
				text, number := taken(t, o.id)
				if low, found := lowest[text]; !found || number < low {
					lowest[text] = number
				}
				if o.waits {
					waiting[text]++
				}
			}
			for _, o := range opened {
				text, number := taken(t, o.id)
				mark, err := s.sending(o.id)
				if err != nil || mark != lowest[text] || number >= mark+window || waiting[text] > 1 {
					t.Fatalf("seed %d: %s under mark %d (lowest open %d, %d waiting), %v", seed, o.id, mark, lowest[text], waiting[text], err)
				}
			}
			if len(opened) > 40 { // keep the check quick, and the window in reach
				for _, o := range opened[20:] {
					o.done()
				}
				opened = opened[:20]
			}
		}
	}
}

func TestAFullWindowNumbersNoFurther(t *testing.T) {
	s := newNames(&hands{})
	_, first, err := s.Open(false)
	if err != nil {
		t.Fatal(err)
	}
	for range window - 1 {
		_, done, err := s.Open(false)
		if err != nil {
			t.Fatal(err)
		}
		done()
	}
	if _, _, err := s.Open(false); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	if _, done, err := s.Open(true); err != nil {
		t.Errorf("a waiting claim: %v", err)
	} else {
		done()
	}
	first()
	if id, _, err := s.Open(false); err != nil || !strings.HasSuffix(id, ".1025") {
		t.Errorf("with the mark moved: %s, %v", id, err)
	}
}

func TestANameOfAWaitingClaimIsUsedAgain(t *testing.T) {
	s := newNames(&hands{})
	id, done, _ := s.Open(true)
	other, otherDone, _ := s.Open(true)
	name, _ := taken(t, id)
	if second, _ := taken(t, other); second == name {
		t.Error("two claims wait under one name")
	}
	done()
	again, againDone, _ := s.Open(true)
	if third, n := taken(t, again); third != name || n != 2 {
		t.Errorf("%s, then %s", id, again)
	}
	otherDone()
	againDone()
	s.answered(id, 0)
	s.answered(other, 0)
	if n := len(s.retire()); n != 2 {
		t.Errorf("%d names are given back", n)
	}
}

func TestANameUnderWhichNothingWasAnsweredIsNotGivenBack(t *testing.T) {
	s := newNames(&hands{})
	_, done, _ := s.Open(true)
	done()
	if n := len(s.retire()); n != 0 || len(s.known) != 0 {
		t.Errorf("%d names are given back, %d are kept", n, len(s.known))
	}
}

func TestANameThatNobodyAnswersIsGivenUp(t *testing.T) {
	clock := &hands{}
	s := newNames(clock)
	old, done, _ := s.Open(false)
	clock.now = renewAfter - 1
	if _, err := s.sending(old); err != nil {
		t.Errorf("too early: %v", err)
	}
	s.answered(old, time.Hour) // what was sent in the first hour was answered
	clock.now = renewAfter + time.Hour - 1
	if id, d, _ := s.Open(false); id[:26] != old[:26] {
		t.Errorf("%s, then %s", old, id)
	} else {
		d()
	}
	clock.now++
	id, _, _ := s.Open(false)
	if id[:26] == old[:26] {
		t.Error("the name is used on")
	}
	if _, err := s.sending(old); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("an open request of a name that was given up: %v", err)
	}
	done()
	if len(s.known) != 1 {
		t.Errorf("%d names are kept", len(s.known))
	}
}

func TestANameWithOpenRequestsIsNotGivenBack(t *testing.T) {
	s := newNames(&hands{})
	_, _, _ = s.Open(false)
	if got := s.retire(); len(got) != 0 {
		t.Errorf("given back: %v", got)
	}
}

func TestAMessageHoldsWhatWaitsWithinItsBounds(t *testing.T) {
	s := &Stream{open: map[uint64]*call{}}
	put := func(bytes int) {
		op := &interrexv1.Operation{Id: uint64(len(s.waiting) + 1), Body: make([]byte, bytes)}
		s.waiting = append(s.waiting, &call{op: op})
	}
	for range 1500 {
		put(10)
	}
	s.waiting[3].op = nil // its caller has gone
	s.cancels = []uint64{77}
	s.lastID = 1500
	m := &interrexv1.OperateRequest{}
	s.take(m)
	if ops := m.Operations; len(ops) != maxOperations || m.Cancels[0] != 77 || ops[3].Id != 5 || len(s.open) != maxOperations || len(s.waiting) != 1500-maxOperations-1 {
		t.Errorf("%d operations, %d open, %d wait", len(ops), len(s.open), len(s.waiting))
	}
	s.waiting = nil
	for range 10 {
		put(200 << 10)
	}
	total := 0
	for range 3 {
		m := &interrexv1.OperateRequest{}
		s.take(m)
		total += len(m.Operations)
		if size := proto.Size(m); size > maxMessage+1<<10 {
			t.Errorf("a message of %d bytes", size)
		}
	}
	if total != 10 || len(s.waiting) != 0 {
		t.Errorf("%d operations in 3 messages, %d wait", total, len(s.waiting))
	}
}

func TestEpochsAreReadFromTheirNumberAndTheirBits(t *testing.T) {
	for _, c := range []struct {
		seen, then string
		taken      bool
	}{
		{"", "1-a", true}, {"1-a", "", true}, {"1-a", "1-a", true}, {"1-a", "2-b", true},
		{"2-a", "1-a", false}, {"2-a", "2-b", false}, {"10-a", "9-a", false}, {"9-a", "10-a", true},
	} {
		e := &epochs{}
		h := map[string][]string{wire.HeaderEpoch: {c.seen}}
		if err := e.accept(h); err != nil {
			t.Fatal(err)
		}
		h[wire.HeaderEpoch] = []string{c.then}
		if err := e.accept(h); (err == nil) != c.taken {
			t.Errorf("%q after %q: %v", c.then, c.seen, err)
		}
	}
}

func TestACallWaitsForRoomInTheWindow(t *testing.T) {
	d, err := Dial(t.Context(), Config{Addresses: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, first, _ := d.names.Open(false)
	for range window - 1 {
		_, done, _ := d.names.Open(false)
		done()
	}
	if _, _, err := d.number(t.Context(), time.Now().Add(5*overloadPause)); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	time.AfterFunc(overloadPause, first)
	if _, done, err := d.number(t.Context(), time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	} else {
		done()
	}
}
