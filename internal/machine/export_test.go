package machine

import (
	"bytes"
	"context"
	"io"

	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/snapfile"
)

// The limits of what the state keeps.
const (
	MaxCaller       = limits.MaxCaller
	MaxSettings     = maxSettings
	MaxSettingValue = maxSettingValue
	MaxWaiters      = maxWaiters
)

// The powers that only tables of our own have.
type (
	Keeper    = keeper
	Recorder  = recorder
	Recoverer = recoverer
	Fencer    = fencer
	Fenced    = fenced

	Uncompared = uncompared
)

// Frame makes a snapshot whose checksums are right of any contents.
func Frame(h snapfile.Header, sections []snapfile.Section, contents [][]byte) []byte {
	var b bytes.Buffer
	w := snapfile.NewWriter(&b, h)
	for i, s := range sections {
		_ = w.Begin(s)
		_, _ = w.Write(contents[i])
	}
	_ = w.Close()
	return b.Bytes()
}

// Unframe returns the contents of a snapshot's sections.
func Unframe(snapshot []byte) (h snapfile.Header, sections []snapfile.Section, contents [][]byte) {
	in, err := snapfile.Open(bytes.NewReader(snapshot))
	for err == nil {
		var s snapfile.Section
		if s, err = in.Next(); err == nil {
			var b []byte
			b, err = io.ReadAll(in)
			sections, contents = append(sections, s), append(contents, b)
		}
	}
	if err != io.EOF {
		panic(err)
	}
	return in.Header, sections, contents
}

// WaitFor waits as WaitApplied does, for a number that a function returns.
func WaitFor(ctx context.Context, target uint64, reached func() uint64) error {
	var w waiters
	return w.wait(ctx, target, reached)
}

// DecodeEntry returns what Append has written.
func DecodeEntry(b []byte) (e Entry, err error) {
	err = e.Decode(b)
	return e, err
}

// DecodeGroupReply reads the reply of a group's record, where no table is known.
func DecodeGroupReply(b []byte) error {
	_, err := tableSet{}.decodeGroupReply(b)
	return err
}

// Names returns the number of names of request ids that are kept, and their limit.
func (s *State) Names() (kept, limit int) {
	s.RequestLimits(func(setting string, used, most int64) {
		if setting == settingNames {
			kept, limit = int(used), int(most)
		}
	})
	return kept, limit
}

// StagedPieces returns in how many pieces the staged file is kept.
func (s *State) StagedPieces() int { return len(s.system.staging.parts) }
