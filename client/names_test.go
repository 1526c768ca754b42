package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
)

// allotter allots names as the state does.
type allotter struct {
	made map[uint64]string // by bits
	next uint64
	err  error
}

func (a *allotter) allot(_ context.Context, bits uint64) (string, interrex.Revision, error) {
	if a.err != nil {
		return "", 0, a.err
	}
	a.next++
	if a.made == nil {
		a.made = map[uint64]string{}
	}
	if a.made[bits] == "" {
		a.made[bits] = fmt.Sprintf("%d-%016x", a.next, bits)
	}
	return a.made[bits], interrex.Revision(a.next), nil
}

func gone(lost interrex.Revision) error {
	e := interrex.Errorf(interrex.ErrNameGone, "gone")
	e.Lost = lost
	return e
}

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
		s := newNames(new(allotter).allot)
		used, lowest := map[string]bool{}, map[string]uint64{}
		var opened []open
		for range 4_000 {
			if rnd.IntN(100) < 52 {
				waits := rnd.IntN(10) == 0
				id, err := s.Open(t.Context(), waits)
				if err != nil {
					if waits || !errors.Is(err, interrex.ErrOverloaded) {
						t.Fatalf("seed %d: %v", seed, err)
					}
					continue
				}
				if used[id.Text] {
					t.Fatalf("seed %d: %s twice", seed, id.Text)
				}
				used[id.Text] = true
				opened = append(opened, open{id.Text, waits, id.Done})
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
				mark := s.mark(o.id)
				if mark != lowest[text] || number >= mark+window || waiting[text] > 1 {
					t.Fatalf("seed %d: %s under mark %d (lowest open %d, %d waiting)", seed, o.id, mark, lowest[text], waiting[text])
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

// mustOpen numbers a request.
func mustOpen(t *testing.T, s *names, waits bool) hold.ID {
	t.Helper()
	id, err := s.Open(t.Context(), waits)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAFullWindowNumbersNoFurther(t *testing.T) {
	s := newNames(new(allotter).allot)
	first := mustOpen(t, s, false)
	for range window - 1 {
		mustOpen(t, s, false).Done()
	}
	if _, err := s.Open(t.Context(), false); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	mustOpen(t, s, true).Done()
	first.Done()
	if id := mustOpen(t, s, false); !strings.HasSuffix(id.Text, ".1025") {
		t.Errorf("with the mark moved: %s", id.Text)
	}
}

func TestANameOfAWaitingClaimIsUsedAgain(t *testing.T) {
	s := newNames(new(allotter).allot)
	first, other := mustOpen(t, s, true), mustOpen(t, s, true)
	name, _ := taken(t, first.Text)
	if second, _ := taken(t, other.Text); second == name {
		t.Error("two claims wait under one name")
	}
	first.Done()
	again := mustOpen(t, s, true)
	if third, n := taken(t, again.Text); third != name || n != 2 {
		t.Errorf("%s, then %s", first.Text, again.Text)
	}
	other.Done()
	if marks := s.retire(); len(marks) != 2 || marks[name] != 2 {
		t.Errorf("given back are %v", marks)
	}
	again.Done()
	if len(s.known) != 0 {
		t.Errorf("%d names are kept", len(s.known))
	}
}

func TestAnOpeningThatWasNotAnsweredIsRepeatedWithItsBits(t *testing.T) {
	a := &allotter{err: interrex.Errorf(interrex.ErrOutcomeUnknown, "cut")}
	s := newNames(a.allot)
	for range 2 {
		if _, err := s.Open(t.Context(), false); !errors.Is(err, interrex.ErrUnavailable) { // its request was not sent
			t.Errorf("got %v", err)
		}
	}
	if len(s.bits) != 1 {
		t.Fatalf("%d openings are not answered", len(s.bits))
	}
	bits := s.bits[0]
	a.err = nil
	if id := mustOpen(t, s, true); a.made[bits] == "" || !strings.HasPrefix(id.Text, a.made[bits]) {
		t.Errorf("%s, and not of %x", id.Text, bits)
	}
	mustOpen(t, s, false)
	if len(a.made) != 2 || len(s.bits) != 0 {
		t.Errorf("bits are used twice: %v", a.made)
	}
}

func TestOneCallerAtATimeOpensTheNameOfAll(t *testing.T) {
	asked, let := make(chan struct{}, 10), make(chan struct{})
	a := new(allotter)
	s := newNames(func(ctx context.Context, bits uint64) (string, interrex.Revision, error) {
		asked <- struct{}{}
		<-let
		return a.allot(ctx, bits)
	})
	ids := make(chan string, 10)
	for range 10 {
		go func() {
			id, err := s.Open(t.Context(), false)
			if err != nil {
				t.Error(err)
			}
			ids <- id.Text
		}()
	}
	<-asked
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ended, false); !errors.Is(err, interrex.ErrTimeout) || !errors.Is(err, context.Canceled) {
		t.Errorf("whose caller has gone: %v", err)
	}
	close(let)
	for range 10 {
		<-ids
	}
	if len(a.made) != 1 || len(asked) != 0 {
		t.Errorf("%d names were opened", len(a.made))
	}
}

// Nothing was done of a request if no record was dropped that is later than what was
// known before its first attempt. What is heard afterwards does not count.
func TestARequestWhoseNameIsGoneGoesOnIfNothingWasDone(t *testing.T) {
	s := newNames(new(allotter).allot)
	before := mustOpen(t, s, false)
	s.hear(100)
	s.hear(90)
	after := mustOpen(t, s, false)
	s.hear(200)
	for _, test := range []struct {
		id    hold.ID
		lost  interrex.Revision
		moves bool
	}{{before, 1, true}, {before, 2, false}, {after, 100, true}, {after, 101, false}} {
		moves, told := test.id.Gone(gone(test.lost))
		if moves != test.moves || moves != (told == nil) || !moves && !errors.Is(told, interrex.ErrOutcomeUnknown) {
			t.Errorf("%s, with %d lost: %v, %v", test.id.Text, test.lost, moves, told)
		}
	}
	name, _ := taken(t, before.Text)
	if again, n := taken(t, mustOpen(t, s, false).Text); again == name || n != 1 {
		t.Error("the name is used on")
	}
	before.Done()
	after.Done()
	if len(s.known) != 1 {
		t.Errorf("%d names are kept", len(s.known))
	}
	if moves, told := before.Gone(interrex.ErrHeld); moves || told != interrex.ErrHeld {
		t.Errorf("another error: %v, %v", moves, told)
	}
}

func TestAGoneNameIsNotGivenBackNorUsedByTheNextWaiter(t *testing.T) {
	s := newNames(new(allotter).allot)
	id := mustOpen(t, s, true)
	name, _ := taken(t, id.Text)
	id.Gone(gone(1 << 50))
	id.Done()
	if next, _ := taken(t, mustOpen(t, s, true).Text); next == name || len(s.retire()) != 1 {
		t.Errorf("%s again", name)
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
	d.names.allot = new(allotter).allot
	first := mustOpen(t, d.names, false)
	for range window - 1 {
		mustOpen(t, d.names, false).Done()
	}
	if _, err := d.number(t.Context(), time.Now().Add(5*callstream.OverloadPause)); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	time.AfterFunc(callstream.OverloadPause, first.Done)
	if id, err := d.number(t.Context(), time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	} else {
		id.Done()
	}
}
