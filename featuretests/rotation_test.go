package featuretests

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
)

// The leader of a rotation is killed in one random phase, or in each.
var rotateAll = flag.Bool("rotate-all", false, "kill the leader in every phase of a rotation of the CA: some minutes; in one otherwise")

// callers use the API of all agents over TLS until stop is called, which returns how many
// calls were made and which have failed.
func (f *fleet) callers(n int) (stop func() (int64, []error)) {
	c := client.Config{TLS: client.TLSFiles{CA: f.path(0, authority.CertName)}, TokenFile: f.path(0, "operator.token"), Timeout: time.Minute}
	for _, m := range f.members {
		c.Addresses = append(c.Addresses, "https://"+m.config.API.Listen)
	}
	shared := dial(f.t, c)
	var done atomic.Bool
	var calls atomic.Int64
	var mu sync.Mutex
	var failed []error
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			for n := 0; !done.Load(); n++ {
				by, end := shared, func() error { return nil }
				if i == 0 { // each time over a connection of its own
					one, err := client.Dial(f.t.Context(), c)
					if err != nil {
						mu.Lock()
						failed = append(failed, err)
						mu.Unlock()
						return
					}
					by, end = one, one.Close
				}
				_, err := by.Leases().Claim(f.t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprintf("app/%d-%d", i, n)), Holder: "ann", TTL: 5 * time.Second})
				_ = end()
				calls.Add(1)
				if err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	return func() (int64, []error) {
		done.Store(true)
		running.Wait()
		return calls.Load(), failed
	}
}

// settled waits until the members trust only the CA that the first of them has a key of,
// have certificates of it and, if they vote, its key, and returns its pin.
func (f *fleet) settled(members ...int) (pin jointoken.Pin) {
	f.t.Helper()
	f.until("the former CA is forgotten", func() bool {
		pins, err := authority.Pins(f.data(members[0]))
		if err != nil || len(pins) != 1 {
			return false
		}
		pin = pins[0]
		for _, i := range members {
			trusted, err := authority.ReadTrust(f.data(i))
			kept, failed := authority.Pins(f.data(i))
			if err != nil || failed != nil || len(trusted) != 1 || jointoken.PinOf(trusted[0]) != pin || !slices.Equal(kept, pins) || f.certificate(i).Leaf.CheckSignatureFrom(trusted[0]) != nil {
				return false
			}
		}
		return true
	})
	return pin
}

// Three agents under load get another CA; then again while one of them is off, which comes
// back with a join token.
func TestTheCAIsReplacedWhileAgentsAndCallersGoOn(t *testing.T) {
	t.Parallel()
	f := enrol(t, 3)
	before := f.settled(0, 1, 2)
	stop := f.callers(8)
	out := f.must("ca", "rotate", "--timeout", "2m", "--addr", f.socket(0))
	after := f.settled(0, 1, 2)
	calls, failed := stop()
	if len(failed) > 0 || calls < 8 {
		t.Errorf("%d of %d calls have failed, the first with %v", len(failed), calls, append(failed, nil)[0])
	}
	if before == after || !strings.Contains(out, "the CA is rotated: it is "+after.String()) {
		t.Errorf("the CA is %v, and was %v: %s", after, before, out)
	}
	if out := f.must("join-token", "list", "--addr", f.socket(0)); !strings.Contains(out, "ended: the CA was rotated") {
		t.Errorf("the token of the former CA is listed as\n%s", out)
	}
	out, err := f.command("agent", "join", f.members[0].config.Cluster.Listen, "--token-file", f.path(0, "join.token"), "--data-dir", filepath.Join(f.dir, "n9"), "--id", "n9", "--api", "127.0.0.1:1", "--cluster", "127.0.0.1:2")
	if err == nil || !strings.Contains(out, "the CA was rotated after the token was made") {
		t.Errorf("a join with the former CA's token: %v, %s", err, out)
	}
	f.rotatedWithout(2)
}

// rotatedWithout rotates the CA while member i is off: it is named, then left out, and
// comes back with a join token.
func (f *fleet) rotatedWithout(i int) {
	f.t.Helper()
	f.kill(i)
	f.until("the rotation begins", func() bool {
		out, err := f.command("ca", "rotate", "--timeout", "3s", "--addr", f.socket(0))
		return err != nil && strings.Contains(out, "ca rotate --without "+f.id(i))
	})
	if out := f.must("cert", "list", "--addr", f.socket(1)); !strings.Contains(out, "waiting for "+f.id(i)) {
		f.t.Errorf("the certificates are listed as\n%s", out)
	}
	f.until("the status names it", func() bool {
		out, _ := f.command("status", "--addr", f.socket(1))
		return strings.Contains(out, "ca-rotation-held  "+f.id(i)+" for ")
	})
	f.must("ca", "rotate", "--without", f.id(i), "--timeout", "2m", "--addr", f.socket(0))
	f.settled(0, 1)
	f.start(i)
	f.logged(i, "comes back with 'interrex agent join'")
	token := filepath.Join(f.dir, "token")
	if err := os.WriteFile(token, []byte(f.must("join-token", "create", "--for", f.id(i), "--addr", f.socket(0))), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.must("agent", "join", f.members[0].config.Cluster.Listen, "--token-file", token, "--data-dir", f.data(i))
	f.settled(0, 1, i)
	f.answers(i)
}

// phase waits until the rotation is in a phase, as member i sees it, and reports whether
// it came to it: another may follow too soon to be seen.
func (f *fleet) phase(i int, phase string) bool {
	f.t.Helper()
	c := dial(f.t, client.Config{Addresses: []string{f.socket(i)}})
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	for begun := false; ; time.Sleep(5 * time.Millisecond) {
		now, err := c.Members().Rotation(ctx, interrex.ReadOptions{Consistency: interrex.Eventual})
		if ctx.Err() != nil {
			f.t.Fatalf("the rotation does not come to an end: %+v, %v", now, err)
		}
		if err == nil && now.Phase == phase {
			return true
		}
		if begun = begun || err == nil && now.Began > 0; begun && err == nil && now.Began == 0 {
			return false
		}
	}
}

func TestARotationOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	phases := []string{"starting", "trusting", "handing", "renewing", "dropping"}
	if !*rotateAll {
		phases = phases[rand.IntN(len(phases)):][:1]
	}
	f := enrol(t, 3)
	for _, phase := range phases {
		f.killedIn(phase)
	}
}

// killedIn rotates the CA, kills the leader in a phase, and starts it again.
func (f *fleet) killedIn(phase string) {
	f.t.Helper()
	for range 10 {
		before := f.settled(0, 1, 2)
		leader := f.leader()
		go func() { _, _ = f.command("ca", "rotate", "--addr", f.socket(leader)) }()
		if !f.phase(leader, phase) {
			continue
		}
		f.kill(leader)
		f.t.Logf("%s, which leads, was killed in phase %s", f.id(leader), phase)
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond) // the others may elect another
		f.start(leader)
		f.answers(leader)
		f.until("the rotation ends", func() bool {
			out, err := f.command("cert", "list", "-o", "json", "--addr", f.socket(leader))
			return err == nil && !strings.Contains(out, `"rotation"`)
		})
		if after := f.settled(0, 1, 2); after == before && phase != "starting" {
			f.t.Errorf("killed in phase %s the CA is the same", phase)
		}
		return
	}
	f.t.Errorf("phase %s was not seen", phase)
}
