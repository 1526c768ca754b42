package machine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// stagedName is the name of the section of a snapshot that has the staged file, after
// that of the system.
const (
	stagedName    = "staged"
	stagedVersion = 1
)

// staging is a snapshot file on its way into the state: what of it has come so far, and what
// was read from that.
type staging struct {
	file        uint64 // its ID
	by          string // the caller of the first part
	began, last state.Time
	reads       reads
	parts       [][]byte
	size        int64
	checksum    uint32
	intake      *intake // which is made from the rest
}

// stage begins a file.
func (sys *system) stage(file uint64, by string, can reads, tables tableSet) *staging {
	st := &staging{file: file, by: strings.Clone(by), reads: can}
	st.intake = newIntake(func(r io.Reader) (*content, error) { return readContent(r, can, tables, sys.settings) })
	sys.staging = st
	return st
}

// add appends a part, and reads it. However small the parts are, they are kept in pieces of
// MaxFilePart.
func (st *staging) add(part []byte) error {
	st.size += int64(len(part))
	st.checksum = crc32.Update(st.checksum, castagnoli, part)
	for rest := part; len(rest) > 0; {
		last := len(st.parts) - 1
		if last < 0 || len(st.parts[last]) == limits.MaxFilePart {
			st.parts = append(st.parts, make([]byte, 0, limits.MaxFilePart))
			continue
		}
		n := min(len(rest), limits.MaxFilePart-len(st.parts[last]))
		st.parts[last] = append(st.parts[last], rest[:n]...)
		rest = rest[n:]
	}
	return st.intake.feed(part)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// has reports whether a part is what was staged at an offset.
func (st *staging) has(offset int64, part []byte) bool {
	for _, p := range st.parts {
		if offset >= int64(len(p)) {
			offset -= int64(len(p))
			continue
		}
		p = p[offset:]
		n := min(len(p), len(part))
		if !bytes.Equal(p[:n], part[:n]) {
			return false
		}
		if part, offset = part[n:], 0; len(part) == 0 {
			return true
		}
	}
	return false
}

// unstage drops the file that is being staged, if there is one.
func (sys *system) unstage() {
	if sys.staging != nil {
		sys.staging.intake.stop()
		sys.staging = nil
	}
}

// dropStale drops a file that nobody continues.
func (sys *system) dropStale(now state.Time) {
	if due, is := sys.stale(); is && due <= now {
		sys.unstage()
	}
}

// stale returns when the file that is being staged is dropped.
func (sys *system) stale() (at state.Time, is bool) {
	if sys.staging == nil {
		return 0, false
	}
	return sys.staging.last.Add(sys.files.age), true
}

// describe describes a staged file for those who would stage another.
func (st *staging) describe(now state.Time) string {
	by := "an unnamed caller"
	if st.by != "" {
		by = fmt.Sprintf("%.80q", st.by)
	}
	return fmt.Sprintf("file %016x, of %s, begun %s ago: it has %d bytes, and its last part came %s ago",
		st.file, by, wording.Duration(now.Sub(st.began).Round(time.Second)), st.size, wording.Duration(now.Sub(st.last).Round(time.Second)))
}

// The settings of staged files.
const (
	settingFileBytes = "snapshots.max-bytes"
	settingFileAge   = "snapshots.max-age"
)

// fileLimits limits the file that is staged.
type fileLimits struct {
	bytes int64
	age   time.Duration // of cluster time after its last part
}

// Settings is part of Configurable.
func (l *fileLimits) Settings() []state.Setting {
	return []state.Setting{
		state.IntSetting(settingFileBytes, "bytes of a snapshot file that is restored, at most", 2<<30, 1<<20, 64<<30),
		state.DurationSetting(settingFileAge, "how long after its last part a file that is to be restored is dropped", 10*time.Minute, 10*time.Second, 24*time.Hour),
	}
}

// Configure is part of Configurable.
func (l *fileLimits) Configure(value func(name string) string) {
	*l = fileLimits{bytes: state.SettingInt(value(settingFileBytes)), age: state.SettingDuration(value(settingFileAge))}
}

// StagedFile describes the file that is being staged.
type StagedFile struct {
	File      uint64 // its ID
	By        string // the caller that has begun it; empty: one without a name
	Bytes     int64
	Checksum  uint32 // CRC32C of these
	Began     state.Time
	Last      state.Time // when its last part came
	DroppedAt state.Time // unless another one comes before
}

// Staged returns the file that is being staged; false if there is none.
func (s *State) Staged() (StagedFile, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.system.staging == nil {
		return StagedFile{}, false
	}
	return s.system.stagedFile(), true
}

func (sys *system) stagedFile() StagedFile {
	st := sys.staging
	due, _ := sys.stale()
	return StagedFile{File: st.file, By: st.by, Bytes: st.size, Checksum: st.checksum, Began: st.began, Last: st.last, DroppedAt: due}
}

// stagedView is a frozen staging. It shares the bytes of the parts, which stay.
type stagedView struct {
	staging
	parts [][]byte
}

func (st *staging) freeze() *stagedView {
	return &stagedView{staging: *st, parts: slices.Clone(st.parts)}
}

func (v *stagedView) write(w io.Writer) error {
	b := binary.BigEndian.AppendUint64(nil, v.file)
	b = appendBytes(b, v.by)
	b = binary.AppendVarint(b, int64(v.began))
	b = binary.AppendVarint(b, int64(v.last))
	if _, err := w.Write(v.reads.append(b)); err != nil {
		return err
	}
	for _, p := range v.parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// restoreStaged reads what a stagedView has written, and the file in it.
func (sys *system) restoreStaged(chunks [][]byte, tables tableSet) error {
	if len(chunks) == 0 {
		return errShort
	}
	d := decoder{b: chunks[0]}
	file, by, began, last := d.uint64(), d.text(), state.Time(d.varint()), state.Time(d.varint())
	can := d.reads()
	if d.err != nil {
		return d.err
	}
	st := sys.stage(file, by, can, tables)
	st.began, st.last = began, last
	for _, part := range append([][]byte{d.b}, chunks[1:]...) {
		if err := st.add(part); err != nil {
			sys.unstage()
			return err
		}
	}
	return nil
}

// RestoredFile is the newest restore of a snapshot file: what was between From, the
// file's revision, and To, that of the restore, was replaced. To is 0: there was none.
type RestoredFile struct {
	File     uint64
	From, To interrex.Revision
}

// Continues returns why what follows a revision must not be followed: the restore has
// ended the history there. The error is ErrCompacted.
func (r RestoredFile) Continues(since interrex.Revision) error {
	if since == 0 || since >= r.To {
		return nil
	}
	e := interrex.Errorf(interrex.ErrCompacted, "since %d: a snapshot was restored at revision %d, and what was before it is replaced: list again, or request since %d", since, r.To, r.To)
	e.FirstRevision = r.To
	return e
}

// Has is Continues for a page of changes: those of the file can be read.
func (r RestoredFile) Has(since interrex.Revision) error {
	if since <= r.From {
		return nil
	}
	return r.Continues(since)
}

// Restored returns the newest restore of a snapshot file.
func (s *State) Restored() RestoredFile { return s.at.Load().restored }
