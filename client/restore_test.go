package client_test

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// restorer is an agent to which a file is restored.
func restorer(t *testing.T) *agent {
	t.Helper()
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = restores })
	return a
}

// restores answers the operations of a restore with success.
func restores(op *operation) *interrexv1.Answer {
	switch op.request.(type) {
	case *interrexv1.RestoreRequest:
		return answered(&interrexv1.RestoreResponse{Revision: 11})
	case *interrexv1.UnstageRequest:
		return answered(&interrexv1.UnstageResponse{})
	}
	return answered(&interrexv1.StageResponse{})
}

// upload is what an agent has received of a file.
type upload struct {
	data     []byte
	parts    int
	files    map[uint64]bool // the IDs that came
	restored *interrexv1.RestoreRequest
	dropped  bool
}

func uploaded(t *testing.T, a *agent) upload {
	t.Helper()
	u := upload{files: map[uint64]bool{}}
	for _, op := range a.received() {
		switch m := op.request.(type) {
		case *interrexv1.StageRequest:
			if m.GetOffset() != uint64(len(u.data)) {
				t.Errorf("a part is at offset %d, not at %d", m.GetOffset(), len(u.data))
			}
			u.data, u.parts, u.files[m.GetFile()] = append(u.data, m.GetData()...), u.parts+1, true
		case *interrexv1.RestoreRequest:
			u.restored, u.files[m.GetFile()] = m, true
		case *interrexv1.UnstageRequest:
			u.dropped, u.files[m.GetFile()] = true, true
		}
	}
	if len(u.files) > 1 || u.files[0] {
		t.Errorf("one file has the IDs %v", u.files)
	}
	return u
}

func TestARestoreSendsTheFileFromWhereItsReaderIs(t *testing.T) {
	file := snapshotFile()
	a := restorer(t)
	c := dial(t, client.Config{}, a)
	r := bytes.NewReader(append([]byte("before"), file...))
	_, err := r.Seek(6, io.SeekStart)
	if err != nil {
		t.Fatal(err)
	}
	var sent []int64
	revision, err := c.Snapshots().Restore(t.Context(), r, func(n int64) { sent = append(sent, n) })
	if err != nil || revision != 11 {
		t.Fatal(revision, err)
	}
	u := uploaded(t, a)
	if !bytes.Equal(u.data, file) || u.dropped {
		t.Errorf("%d of %d bytes were sent, dropped: %v", len(u.data), len(file), u.dropped)
	}
	sum := crc32.Checksum(file, crc32.MakeTable(crc32.Castagnoli))
	if u.restored.GetBytes() != uint64(len(file)) || u.restored.GetChecksum() != sum {
		t.Errorf("restored are %v, want %d bytes with the checksum %d", u.restored, len(file), sum)
	}
	if len(sent) != u.parts || sent[0] != 64<<10 || sent[len(sent)-1] != int64(len(file)) {
		t.Errorf("of %d parts it reports %v", u.parts, sent)
	}
}

// A pipe cannot be read twice: the agents verify what they receive, here two whole parts.
func TestASnapshotIsRestoredFromAPipe(t *testing.T) {
	file := bytes.Repeat([]byte("content."), 16<<10)
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	written := make(chan error, 1)
	go func() {
		_, err := to.Write(file)
		written <- errors.Join(err, to.Close())
	}()
	a := restorer(t)
	if revision, err := dial(t, client.Config{}, a).Snapshots().Restore(t.Context(), from, nil); err != nil || revision != 11 {
		t.Error(revision, err)
	}
	from.Close() // or the writer would wait
	if err := <-written; err != nil {
		t.Error(err)
	}
	if u := uploaded(t, a); !bytes.Equal(u.data, file) {
		t.Errorf("%d of %d bytes were sent", len(u.data), len(file))
	}
}

func TestNothingIsSentOfASnapshotThatIsNotWhole(t *testing.T) {
	file := snapshotFile()
	flipped := bytes.Clone(file)
	flipped[100_000] ^= 1
	for name, c := range map[string]struct {
		r    io.Reader
		text string
	}{
		"damaged":      {bytes.NewReader(flipped), "it is damaged: the checksum of part"},
		"cut":          {bytes.NewReader(file[:100_000]), "it is cut short"},
		"no snapshot":  {bytes.NewReader([]byte("some other file")), "it is not a snapshot"},
		"empty file":   {bytes.NewReader(nil), "it is cut short, after byte 0"},
		"empty stream": {new(bytes.Buffer), "it is empty"},
	} {
		a := restorer(t)
		_, err := dial(t, client.Config{}, a).Snapshots().Restore(t.Context(), c.r, nil)
		if interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), "cannot restore the snapshot: "+c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if u := uploaded(t, a); u.parts > 0 || u.restored != nil {
			t.Errorf("%s: %d parts were sent, restored: %v", name, u.parts, u.restored)
		}
	}
}

// A file is staged until it is restored, dropped or old, and nobody else can restore
// another one meanwhile.
func TestARestoreThatFailsDropsWhatItHasSent(t *testing.T) {
	broken := errors.New("the disk is broken")
	refused := func(what interrex.Kind, in func(*operation) bool) func(*operation) *interrexv1.Answer {
		return func(op *operation) *interrexv1.Answer {
			if in(op) {
				return failing(what)
			}
			return restores(op)
		}
	}
	second := func(op *operation) bool {
		m, is := op.request.(*interrexv1.StageRequest)
		return is && m.GetOffset() > 0
	}
	last := func(op *operation) bool {
		_, is := op.request.(*interrexv1.RestoreRequest)
		return is
	}
	for name, c := range map[string]struct {
		answer  func(*operation) *interrexv1.Answer
		r       io.Reader
		want    error
		dropped bool
		timeout time.Duration // after which an unknown outcome is an error; 0: the default
	}{
		"a part is refused":        {refused(interrex.ErrTooLarge, second), bytes.NewReader(snapshotFile()), interrex.ErrTooLarge, true, 0},
		"the restore is refused":   {refused(interrex.ErrInvalid, last), bytes.NewReader(snapshotFile()), interrex.ErrInvalid, true, 0},
		"it is perhaps restored":   {refused(interrex.ErrOutcomeUnknown, last), bytes.NewReader(snapshotFile()), interrex.ErrOutcomeUnknown, false, time.Second},
		"the file cannot be read":  {restores, io.MultiReader(bytes.NewReader(snapshotFile()), iotest.ErrReader(broken)), broken, true, 0},
		"its begin cannot be read": {restores, iotest.ErrReader(broken), broken, true, 0},
	} {
		a := restorer(t)
		a.set(func(a *agent) { a.answer = c.answer })
		_, err := dial(t, client.Config{Timeout: c.timeout}, a).Snapshots().Restore(t.Context(), c.r, nil)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		u := uploaded(t, a)
		if u.dropped != c.dropped || errors.Is(err, broken) && u.restored != nil {
			t.Errorf("%s: dropped: %v, restored: %v", name, u.dropped, u.restored)
		}
	}
}

func TestARestoreThatIsStoppedSaysThatNothingHasChanged(t *testing.T) {
	a := restorer(t)
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("it was stopped")
	_, err := dial(t, client.Config{}, a).Snapshots().Restore(ctx, bytes.NewReader(snapshotFile()), func(int64) { stop(why) })
	if interrex.KindOf(err) != interrex.ErrTimeout || !errors.Is(err, why) || !strings.Contains(err.Error(), "stopped after 65536 bytes: nothing has changed") {
		t.Error(err)
	}
	if u := uploaded(t, a); !u.dropped || u.restored != nil {
		t.Errorf("dropped: %v, restored: %v", u.dropped, u.restored)
	}
}
