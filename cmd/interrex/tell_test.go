package main

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

func TestWhatACommandWaitsForIsSaidWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := newSpoken()
		s := session{app: &app{addr: "127.0.0.1:1", talk: said, timeout: time.Second}}
		looks := []struct{ what, text string }{
			{"", "nothing"}, {"n1", "n1, for 3 s"}, {"n1", "n1, for 8 s"}, {"n2", "n2"}, {"", ""}, {"n2", "n2 again"},
		}
		began, seen := time.Now(), 0
		stop := s.tell(t.Context(), func(context.Context, session) (what, text string) {
			seen++
			return looks[seen-1].what, looks[seen-1].text
		})
		time.Sleep(firstLook + time.Duration(len(looks)-1)*nextLook)
		synctest.Wait()
		stop()
		if took := time.Since(began); seen != len(looks) {
			t.Errorf("%d looks in %s", seen, took)
		}
		want := []string{"waiting for n1, for 3 s", "waiting for n2", "waiting for n2 again", ""}
		if got := strings.Split(said.String(), "\n"); !slices.Equal(got, want) {
			t.Errorf("it said %q", got)
		}
		time.Sleep(nextLook)
		if seen != len(looks) {
			t.Error("it looks still, after its end")
		}
	})
}

func TestALookAtALeaseSaysHowLongItIsHeld(t *testing.T) {
	c := interrextest.NewCluster(t, 1)
	client := c.Client(0)
	leases, key := client.Leases(), mustKey("app/db")
	look := func() (what, text string) {
		return lookAtLease(key)(t.Context(), session{client: client, leases: leases})
	}
	if what, text := look(); what != "" || text != "" {
		t.Errorf("of one that is free: %q, %q", what, text)
	}
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	what, text := look()
	if what != won.Lease.Token.String() || !strings.HasPrefix(text, "app/db: held by ann for ") || !strings.HasSuffix(text, " unless it is extended") {
		t.Errorf("of one that is held: %q, %q", what, text)
	}
	if _, err := leases.Pin(t.Context(), interrex.PinRequest{Key: key, Owner: "ops", Reason: "move"}); err != nil {
		t.Fatal(err)
	}
	if again, text := look(); again != what || !strings.HasSuffix(text, ", and pinned by ops") {
		t.Errorf("of one that is pinned: %q, %q", again, text)
	}
}

func TestASignalsEndSaysWhatMayBeLeft(t *testing.T) {
	told, cancel := context.WithCancelCause(t.Context())
	cancel(interrupt(syscall.SIGINT))
	unknown := interrex.Errorf(interrex.KindOutcomeUnknown, "it may be granted")
	for _, end := range []struct {
		ctx       context.Context
		err, want error
		said      string
	}{
		{told, nil, nil, ""},
		{told, unknown, exit(130), "interrex: " + unknown.Error() + "\n"},
		{told, interrex.Errorf(interrex.KindTimeout, "x"), exit(130), ""},
		{t.Context(), unknown, unknown, ""},
	} {
		said := newSpoken()
		if got := (&app{talk: said}).interrupted(end.ctx, end.err); got != end.want || said.String() != end.said {
			t.Errorf("%v ends with %v, and says %q", end.err, got, said)
		}
	}
}
