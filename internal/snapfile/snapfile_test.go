package snapfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
)

var header = Header{
	ClusterID: "c", Epoch: interrex.Epoch{Number: 3, Bits: 4},
	Index: 5, Term: 2, Revision: 9, Floor: 7, Time: int64(time.Minute),
}

// content is that of a section of two chunks and a rest.
var content = bytes.Repeat([]byte("content"), 20_000)

// sections are those of a file.
var sections = []Section{{Name: "state", Version: 1}, {Table: 7, Name: "empty", Version: 2}, {Table: 65535, Name: "last", Version: 65535}}

func written(t *testing.T, contents ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, header)
	for i, s := range sections {
		if err := w.Begin(s); err != nil {
			t.Fatal(err)
		}
		if n, err := w.Write(contents[i]); n != len(contents[i]) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// check reads a whole file.
func check(file []byte) error {
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		return err
	}
	return r.Check()
}

func TestAFileIsReadAsItWasWritten(t *testing.T) {
	contents := [][]byte{content, nil, []byte("end")}
	file := written(t, contents...)
	r, err := Open(iotest.HalfReader(bytes.NewReader(file)))
	if err != nil || r.Header != header {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, want := range sections {
		s, err := r.Next()
		if s != want || err != nil {
			t.Fatalf("section %+v, want %+v: %v", s, want, err)
		}
		if b, err := io.ReadAll(r); !bytes.Equal(b, contents[i]) || err != nil {
			t.Errorf("%s: %d bytes, want %d: %v", s.Name, len(b), len(contents[i]), err)
		}
	}
	for range 2 {
		if s, err := r.Next(); err != io.EOF {
			t.Errorf("behind the last: %+v, %v", s, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("behind the last: %d, %v", n, err)
		}
	}
	want := interrex.Snapshot{ClusterID: "c", Epoch: 3, LogIndex: 5, Term: 2, Revision: 9, ClusterTime: time.Minute, Bytes: int64(len(file))}
	if got := r.Snapshot(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestNextSkipsTheRestOfASection(t *testing.T) {
	r, err := Open(bytes.NewReader(written(t, content, content, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range sections {
		if s, err := r.Next(); s != want || err != nil {
			t.Fatalf("section %+v, want %+v: %v", s, want, err)
		}
		_, _ = r.Read(make([]byte, 3))
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

func TestEachBitAndTheLengthOfAFileCount(t *testing.T) {
	file := written(t, []byte("one"), nil, []byte("three"))
	for i := range file {
		for bit := range 8 {
			flipped := bytes.Clone(file)
			flipped[i] ^= 1 << bit
			if err := check(flipped); err == nil {
				t.Errorf("bit %d of byte %d is flipped, and it is whole", bit, i)
			}
		}
		if err := check(file[:i]); err == nil || err.Error() != fmt.Sprintf("it is cut short, after byte %d", i) {
			t.Errorf("of %d bytes: %v", i, err)
		}
	}
	if err := check(append(bytes.Clone(file), 0)); err == nil || err.Error() != fmt.Sprintf("it is damaged: there are bytes after its end at byte %d", len(file)) {
		t.Error(err)
	}
}

func TestAFileThatCannotBeReadIsNotCutShort(t *testing.T) {
	file := written(t, []byte("one"), nil, []byte("three"))
	broken := errors.New("the disk is broken")
	for n := range len(file) + 1 {
		r, err := Open(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)))
		if err == nil {
			err = r.Check()
		}
		if !errors.Is(err, broken) {
			t.Errorf("behind %d bytes: %v", n, err)
		}
	}
}

// frame returns a frame with a right checksum.
func frame(kind byte, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// closed adds a trailer to the magic and some frames.
func closed(count uint64, frames ...[]byte) []byte {
	b := append([]byte(magic), bytes.Join(frames, nil)...)
	return append(b, frame(frameTrailer, trailer(count, b)...)...)
}

func trailer(count uint64, before []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.AppendUvarint(nil, count), crc32.Checksum(before, castagnoli))
}

// Each frame here is whole by itself.
func TestOnlyAFileThatThisBuildUnderstandsIsWhole(t *testing.T) {
	head := frame(frameHeader, appendHeader(nil, header)...)
	section := frame(frameSection, appendSection(nil, sections[0])...)
	chunk, other := frame(frameChunk, 'a'), frame(frameChunk, 'b')
	open := append([]byte(magic), head...)
	long := frame(frameChunk, make([]byte, chunkBytes+1)...)
	if err := check(closed(4, head, section, chunk, other)); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		file []byte
		want string
	}{
		"a later version":       {append([]byte("interrex\x02"), head...), "unknown format version 2, this build reads version 1: use the interrex that wrote it, or a newer one"},
		"another file":          {[]byte("interred\x01"), "it is not a snapshot of interrex"},
		"no header":             {closed(1, section), "it does not begin with its header"},
		"a longer header":       {closed(1, frame(frameHeader, appendHeader([]byte{0}, header)...)), "its header: it is malformed"},
		"a cut header":          {closed(1, frame(frameHeader, appendHeader(nil, header)[:5]...)), "its header: it is malformed"},
		"a longer section head": {closed(2, head, frame(frameSection, append(appendSection(nil, sections[0]), 0)...)), "the head of a section: it is malformed"},
		"a large table":         {closed(2, head, frame(frameSection, 0x80, 0x80, 4, 1, 1, 'a')), "the head of a section: it is malformed"},
		"a large version":       {closed(2, head, frame(frameSection, 1, 0x80, 0x80, 4, 1, 'a')), "the head of a section: it is malformed"},
		"two headers":           {closed(2, head, head), "it has an unexpected part of kind 1"},
		"a chunk of no section": {closed(2, head, chunk), "it has an unexpected part of kind 3"},
		"an unknown kind":       {closed(2, head, frame(9)), "it has an unexpected part of kind 9"},
		"a long frame":          {closed(3, head, section, long), "it is damaged: the checksum of part 2"},
		"a length of 4 GiB":     {append(bytes.Clone(open), frameChunk, 255, 255, 255, 255), "it is damaged: the checksum of part 1, which begins at byte"},
		"a part too few":        {closed(4, head, section, chunk), "its parts do not belong together"},
		"a part too many":       {closed(3, head, section, chunk, chunk), "its parts do not belong together"},
		"parts of another file": {append(append(bytes.Clone(open), section...), frame(frameTrailer, trailer(2, open)...)...), "its parts do not belong together"},
		"an empty trailer":      {append(bytes.Clone(open), frame(frameTrailer)...), "its parts do not belong together"},
		"a longer trailer":      {append(bytes.Clone(open), frame(frameTrailer, append(trailer(1, open), 0)...)...), "its parts do not belong together"},
		"a shorter trailer":     {append(bytes.Clone(open), frame(frameTrailer, trailer(1, open)[:3]...)...), "its parts do not belong together"},
	} {
		if err := check(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAnErrorOfAReaderIsFinal(t *testing.T) {
	file := written(t, content, nil, nil)
	file[len(file)/2] ^= 1
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	_, first := io.ReadAll(r)
	if first == nil {
		t.Fatal("damage was read")
	}
	if _, err := r.Read(make([]byte, 1)); err != first {
		t.Errorf("%v, and then %v", first, err)
	}
	if _, err := r.Next(); err != first {
		t.Errorf("%v, and then %v", first, err)
	}
}

// shortOf is a writer that takes only some bytes.
type shortOf struct {
	left int
	err  error
}

func (w *shortOf) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, w.err
	}
	return len(b), nil
}

func TestTheFirstErrorOfAWriterIsFinal(t *testing.T) {
	full := errors.New("the disk is full")
	for n := range 100 {
		to := &shortOf{left: n, err: full}
		w := NewWriter(Paced(to), header)
		for range 3 {
			_ = w.Begin(sections[0])
			_, _ = w.Write([]byte("one"))
		}
		to.left = 1 << 20 // what comes later would fit
		if err := w.Close(); err != full {
			t.Errorf("with room for %d bytes: %v", n, err)
		}
		if _, err := w.Write(content); err != full {
			t.Errorf("with room for %d bytes, the next write: %v", n, err)
		}
		if err := w.Begin(sections[0]); err != full {
			t.Errorf("with room for %d bytes, the next section: %v", n, err)
		}
	}
}

func TestARestIsTwiceTheWorkAndNeverLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace()
		for work, rest := range map[time.Duration]time.Duration{
			0: 0, time.Millisecond: 2 * time.Millisecond, 19 * time.Millisecond: 38 * time.Millisecond,
			21 * time.Millisecond: maxRest, time.Hour: maxRest,
		} {
			time.Sleep(work)
			began := time.Now()
			if p.Rest(); time.Since(began) != rest {
				t.Errorf("after %s it rests for %s, not %s", work, time.Since(began), rest)
			}
		}
	})
}
