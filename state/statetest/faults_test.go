package statetest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

// faultEnv makes this test binary one that puts a table with a fault to the test.
const faultEnv = "STATETEST_FAULT"

// sums is a table of 256 sums; each fault is planted by a test.
type sums struct {
	*testtable.Register // for what is not overridden
	sums                [256]uint64
	fault               string
	factor              uint64 // of what is added; 0: 1
}

type add struct{ to, n byte }

func (c *add) About() state.About { return state.About{Name: "add"} }
func (c *add) Validate() error    { return nil }
func (c *add) Append(b []byte) []byte {
	return append(b, c.to, c.n)
}

func (s *sums) Decode(data []byte) (state.Command, error) {
	if len(data) != 2 && s.fault != "decode panics" {
		if s.fault == "plain error" {
			return nil, errors.New("malformed")
		}
		return nil, interrex.Errorf(interrex.ErrInvalid, "it is malformed")
	}
	c := &add{data[0], data[1]}
	if s.fault == "changes data" {
		data[1] = 0
	}
	return c, nil
}

func (s *sums) Check(_ state.Time, c state.Command) error {
	if a := c.(*add); s.fault == "blind to groups" && (s.sums[a.to]+uint64(a.n))%3 == 0 {
		return interrex.Errorf(interrex.ErrConflict, "sum %d would be a multiple of 3", a.to)
	}
	return nil
}

// CheckGroup is part of state.Grouper.
func (s *sums) CheckGroup(now state.Time, all []state.Command) error {
	for _, c := range all {
		if err := s.Check(now, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *sums) Apply(t *state.Turn, c state.Command) state.Reply {
	a := c.(*add)
	s.sums[a.to] += uint64(a.n) * max(s.factor, 1)
	t.Emit("sum", "", s.sums[a.to], 8)
	return s.sums[a.to]
}

func (s *sums) Due() (state.Time, bool)   { return 0, false }
func (s *sums) Tick(*state.Turn, int) int { return 0 }
func (s *sums) Freeze() state.View        { return sumsView(s.sums) }
func (s *sums) Restore(_ uint16, r io.Reader) error {
	fresh := &s.sums
	if s.fault != "half a restore" {
		fresh = new([256]uint64)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	for i := range fresh {
		if len(b) < 8 {
			return io.ErrUnexpectedEOF
		}
		if n := binary.BigEndian.Uint64(b); n > 0 || s.fault != "merges" {
			fresh[i] = n
		} else {
			fresh[i] = s.sums[i]
		}
		b = b[8:]
	}
	if len(b) > 0 && s.fault != "reads too little" {
		return errors.New("too long")
	}
	s.sums = *fresh
	return nil
}

// Stage is part of machine.Replacer.
func (s *sums) Stage(version uint16, r io.Reader) (any, error) {
	fresh := &sums{fault: s.fault}
	switch s.fault {
	case "stage changes":
		s.sums[7]++
	case "stage takes half":
		fresh.fault = "half a restore"
	}
	err := fresh.Restore(version, r)
	switch {
	case err != nil && s.fault == "stage panics":
		panic(err)
	case s.fault == "stage takes half":
		err = nil
	}
	return fresh, err
}

// Replace is part of machine.Replacer.
func (s *sums) Replace(t *state.Turn, staged any, _ state.Time) {
	in := staged.(*sums)
	switch s.fault {
	case "replace emits":
		t.Emit("sums", "", nil, 0)
	case "replace loses":
		in.sums = [256]uint64{}
	case "replace merges":
		for i, n := range in.sums {
			s.sums[i] = max(s.sums[i], n)
		}
		return
	case "replace forgets":
		s.factor = 3
	case "replace panics":
		panic("not today")
	}
	s.sums = in.sums
}

func (s *sums) AppendReply(b []byte, r state.Reply) []byte {
	if s.fault == "reply lost" {
		return b
	}
	return binary.BigEndian.AppendUint64(b, r.(uint64))
}

func (s *sums) DecodeReply(b []byte) (state.Reply, error) {
	if s.fault == "reply lost" {
		return uint64(0), nil
	}
	return binary.BigEndian.Uint64(b), nil
}

type sumsView [256]uint64

func (v sumsView) Release() {}
func (v sumsView) Write(w io.Writer) error {
	var b bytes.Buffer
	for _, n := range v {
		b.Write(binary.BigEndian.AppendUint64(nil, n))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// TestSums is the whole of what the binary does under faultEnv, and without a
// fault elsewhere.
func TestSums(t *testing.T) {
	keys := 256
	if os.Getenv(faultEnv) == "blind to groups" {
		keys = 4 // a group has one of them twice
	}
	config := statetest.Config{
		New: func() state.Table {
			return &sums{Register: testtable.NewRegister(), fault: os.Getenv(faultEnv)}
		},
		Command: func(r *rand.Rand, _ []state.Reply) []byte { return []byte{byte(r.IntN(keys)), byte(1 + r.IntN(9))} },
		Entries: 60,
		Rounds:  1,
	}
	if os.Getenv(faultEnv) == "no command" {
		config.Command = nil
	}
	statetest.Run(t, config)
}

func TestRunFindsEveryFault(t *testing.T) {
	for fault, want := range map[string]string{
		"no command":       "New and Command are needed",
		"decode panics":    "panics: runtime error: index out of range",
		"plain error":      "a refusal is an *interrex.Error",
		"changes data":     "has changed the operation's data",
		"half a restore":   "a Restore that has failed has changed the table",
		"merges":           "a Restore has left some of what the table held before",
		"reads too little": "a byte after the end is not noticed",
		"reply lost":       "comes back as 0",
		"blind to groups":  "cannot be done after those before it",
		"stage changes":    "a Stage has changed the table",
		"stage takes half": "are staged as a whole table",
		"stage panics":     "a Stage panics: unexpected EOF",
		"replace emits":    "a Replace has emitted 1 events",
		"replace loses":    "what is replaced is not what was written",
		"replace merges":   "a Replace has left some of what the table held before",
		"replace forgets":  "does something else than after a Restore",
		"replace panics":   "a Replace panics: not today",
	} {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSums$")
		c.Env = append(os.Environ(), faultEnv+"="+fault)
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q:\n%s", fault, err, want, out)
		}
	}
}
