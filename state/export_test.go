package state

import (
	"bytes"
	"context"
	"io"
)

// The limits of what the state keeps.
const (
	MaxCaller       = maxCaller
	MaxSettings     = maxSettings
	MaxSettingValue = maxSettingValue
	MaxWaiters      = maxWaiters
)

type (
	Header  = header
	Section = section
)

// The powers that only tables of our own have.
type (
	Keeper    = keeper
	Recorder  = recorder
	Recoverer = recoverer
	Fencer    = fencer
	Fenced    = fenced
)

// Inspect reads a whole snapshot, verifies every checksum, and says what is in
// it.
func Inspect(r io.Reader) (Header, []Section, error) {
	s, err := openSnapshot(r)
	if err != nil {
		return Header{}, nil, err
	}
	var sections []Section
	err = s.read(func(sec Section) { sections = append(sections, sec) },
		func(p []byte) { sections[len(sections)-1].Bytes += int64(len(p)) })
	return s.header, sections, err
}

// Frame makes a snapshot whose checksums are right of any contents.
func Frame(h Header, sections []Section, contents [][]byte) []byte {
	var b bytes.Buffer
	w := newFrameWriter(&b)
	w.frame(frameHeader, appendHeader(nil, h))
	for i, s := range sections {
		w.frame(frameSection, appendSection(nil, s))
		w.Write(contents[i])
		w.flush()
	}
	w.close()
	return b.Bytes()
}

// Unframe returns the contents of a snapshot's sections.
func Unframe(snapshot []byte) (h Header, sections []Section, contents [][]byte) {
	s, err := openSnapshot(bytes.NewReader(snapshot))
	if err != nil {
		panic(err)
	}
	err = s.read(
		func(sec Section) { sections, contents = append(sections, sec), append(contents, nil) },
		func(b []byte) { contents[len(contents)-1] = append(contents[len(contents)-1], b...) })
	if err != nil {
		panic(err)
	}
	return s.header, sections, contents
}

// WaitFor waits as WaitApplied does, for a number that a function returns.
func WaitFor(ctx context.Context, target uint64, reached func() uint64) error {
	var w waiters
	return w.wait(ctx, target, reached)
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
