package interrextest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fsm"
)

// FSMConfig configures CheckFSM.
type FSMConfig struct {
	// New returns an empty machine, as agent.Config.FSM does.
	New func() interrex.FSM
	// Command returns a random command of at most 1 MiB minus 4 KiB, drawn from r. Few
	// names and many changes find the most faults.
	Command func(r *rand.Rand) []byte
	// Commands is the number of commands in each round; 0: 200.
	Commands int
	// Rounds is the number of rounds, each with its own seed; 0: 5.
	Rounds int
}

// CheckFSM looks for faults that would make the machines of a cluster diverge: a
// dependency on a clock, on random numbers or on map iteration order; state that
// is missing from the snapshot; a Restore that leaves some of the previous state;
// a Snapshot that changes the machine; a panic; a result or a snapshot that is
// too long. It runs in its own bubble of testing/synctest, so it cannot be called
// within another one.
func CheckFSM(t *testing.T, c FSMConfig) {
	t.Helper()
	if err := checkFSM(t, c); err != nil {
		t.Fatal(err)
	}
}

func checkFSM(t *testing.T, c FSMConfig) (err error) {
	if c.New == nil || c.Command == nil {
		return fmt.Errorf("FSMConfig: New and Command are required")
	}
	if c.Commands == 0 {
		c.Commands = 200
	}
	if c.Rounds == 0 {
		c.Rounds = 5
	}
	synctest.Test(t, func(*testing.T) {
		for seed := 0; seed < c.Rounds && err == nil; seed++ {
			if err = c.round(uint64(seed)); err != nil {
				err = fmt.Errorf("round %d: %w", seed, err)
			}
		}
	})
	return err
}

// round applies the same commands to several machines.
func (c FSMConfig) round(seed uint64) error {
	commands := c.commands(seed)
	first, err := c.start().do(commands)
	if err != nil {
		return err
	}
	want, err := first.snapshot()
	if err != nil {
		return err
	}
	time.Sleep(1000*time.Hour + 7*time.Minute + 13*time.Second) // virtual time
	again, err := c.start().do(commands)
	if err != nil {
		return err
	}
	if err := again.is(first, want, "two copies have done the same commands", "a clock, random numbers or the order of a map"); err != nil {
		return err
	}
	for _, at := range []int{0, len(commands) / 3, len(commands) / 2, len(commands)} {
		if err := c.restored(commands, at, first, want); err != nil {
			return fmt.Errorf("after %d of %d commands: %w", at, len(commands), err)
		}
	}
	return nil
}

// restored restores a snapshot into a machine that has applied other commands.
// Both continue.
func (c FSMConfig) restored(commands []interrex.FSMCommand, at int, first *copied, want []byte) error {
	giver, err := c.start().do(commands[:at])
	if err != nil {
		return err
	}
	snapshot, err := giver.snapshot()
	if err != nil {
		return err
	}
	taker, err := c.start().do(c.commands(1 << 32)[:len(commands)/2])
	if err != nil {
		return err
	}
	if err := taker.restore(snapshot); err != nil {
		return err
	}
	if back, err := taker.snapshot(); err != nil || !bytes.Equal(back, snapshot) {
		return fmt.Errorf("a restored machine's snapshot differs from the one that it was restored from: Restore leaves some of the previous state, or loses some (%v):\n%.200q\n%.200q", err, snapshot, back)
	}
	taker.answers = append([]string(nil), giver.answers...)
	if _, err := giver.do(commands[at:]); err != nil {
		return err
	}
	if err := giver.is(first, want, "one of two copies has given a snapshot", "a Snapshot that changes the machine"); err != nil {
		return err
	}
	if _, err := taker.do(commands[at:]); err != nil {
		return err
	}
	return taker.is(first, want, "a restored machine goes on", "state that is missing from the snapshot, or that Restore leaves")
}

// commands makes commands as they are in a log.
func (c FSMConfig) commands(seed uint64) []interrex.FSMCommand {
	r := rand.New(rand.NewPCG(seed, 11))
	all := make([]interrex.FSMCommand, c.Commands)
	revision, now := interrex.Revision(0), time.Duration(0)
	for i := range all {
		revision += interrex.Revision(1 + r.IntN(3))
		now += time.Duration(r.IntN(int(2 * time.Second)))
		all[i] = interrex.FSMCommand{Data: c.Command(r), Revision: revision, Time: now, Wall: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(now)}
	}
	return all
}

// copied is one copy of the machine, with its answers.
type copied struct {
	machine interrex.FSM
	answers []string
}

func (c FSMConfig) start() *copied { return &copied{machine: c.New()} }

// guarded turns a panic into an error.
func guarded(what string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panics: %v", what, p)
		}
	}()
	if err := call(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (m *copied) do(commands []interrex.FSMCommand) (*copied, error) {
	for _, c := range commands {
		c.Data = bytes.Clone(c.Data)
		if err := guarded(fmt.Sprintf("Apply of %.100q", c.Data), func() error {
			result, err := m.machine.Apply(c)
			if len(result) > fsm.MaxResult {
				return fmt.Errorf("its result has %d bytes, at most %d are allowed", len(result), fsm.MaxResult)
			}
			m.answers = append(m.answers, describe(result, err))
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// describe returns an answer as a caller gets it, abbreviated.
func describe(result []byte, err error) string {
	if err != nil {
		return fmt.Sprintf("error %s (%s)", err.Error(), interrex.KindOf(err))
	}
	if len(result) > 100 {
		return fmt.Sprintf("%.100q and more, SHA-256 %x", result, sha256.Sum256(result))
	}
	return fmt.Sprintf("%q", result)
}

// snapshot takes two snapshots, which must be equal.
func (m *copied) snapshot() (b []byte, err error) {
	var again []byte
	for _, into := range []*[]byte{&b, &again} {
		if err := guarded("Snapshot", func() (err error) { *into, err = m.machine.Snapshot(); *into = bytes.Clone(*into); return err }); err != nil {
			return nil, err
		}
	}
	if len(b) > fsm.MaxSnapshot {
		return nil, fmt.Errorf("a snapshot has %d bytes, at most %d are allowed", len(b), fsm.MaxSnapshot)
	}
	if !bytes.Equal(b, again) {
		return nil, fmt.Errorf("two snapshots of one machine differ: look for map iteration order, or a clock:\n%.200q\n%.200q", b, again)
	}
	return b, nil
}

func (m *copied) restore(b []byte) error {
	return guarded("Restore", func() error { return m.machine.Restore(bytes.Clone(b)) })
}

// is compares the copy with the first one and its snapshot.
func (m *copied) is(first *copied, want []byte, when, look string) error {
	for i, a := range m.answers {
		if a != first.answers[i] {
			return fmt.Errorf("%s, and command %d is answered differently: look for %s:\n%.200s\n%.200s", when, i, look, first.answers[i], a)
		}
	}
	got, err := m.snapshot()
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s, and the snapshots differ: look for %s:\n%.200q\n%.200q", when, look, want, got)
	}
	return err
}
