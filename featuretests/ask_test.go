package featuretests

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// client returns a client of the given members, or of all.
func (f *fleet) client(members ...int) *client.Client {
	f.t.Helper()
	if len(members) == 0 {
		for i := range f.members {
			members = append(members, i)
		}
	}
	var c client.Config
	for _, i := range members {
		c.Addresses = append(c.Addresses, f.socket(i))
	}
	return dial(f.t, c)
}

func dial(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	cl, err := client.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// status returns member i's status.
func (f *fleet) status(i int) (*interrexv1.StatusResponse, error) {
	c, err := client.Dial(f.t.Context(), client.Config{Addresses: []string{f.socket(i)}, OneShot: true, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Status(f.t.Context())
}

// answers waits until member i is ready.
func (f *fleet) answers(i int) {
	f.t.Helper()
	eventually(f.t, f.id(i)+" is ready", func() error {
		s, err := f.status(i)
		if err == nil && !s.Ready {
			err = fmt.Errorf("it is a %s: %s", s.State, s.Quorum)
		}
		return err
	})
}

// leader waits until one of the given members, or of all, leads.
func (f *fleet) leader(members ...int) int {
	f.t.Helper()
	if len(members) == 0 {
		for i := range f.members {
			members = append(members, i)
		}
	}
	leader := -1
	eventually(f.t, "there is a leader", func() error {
		for _, i := range members {
			if s, err := f.status(i); err == nil && s.State == "leader" && s.Ready {
				leader = i
				return nil
			}
		}
		return errors.New("there is no leader")
	})
	return leader
}

// others returns all members but i.
func (f *fleet) others(i int) []int {
	var rest []int
	for j := range f.members {
		if j != i {
			rest = append(rest, j)
		}
	}
	return rest
}

// eventually waits until what is true, and fails the test if it never is.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %s in vain until %s: %v", patience, what, err)
		}
	}
}

func key(s string) interrex.Key {
	k, err := interrex.ParseKey(s)
	if err != nil {
		panic(err)
	}
	return k
}
