package featuretests

import (
	bin "encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/raft-wal/segment"
)

// disk is the data directory of an agent that does not run.
type disk struct {
	t      *testing.T
	dir    string
	random *rand.Rand
	did    []string // what was done to it, for people
}

func (d *disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *disk) read(name string) []byte {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	d.must(err)
	return b
}

// write changes a file in place, also under a running agent.
func (d *disk) write(name string, b []byte) {
	d.t.Helper()
	f, err := os.OpenFile(d.path(name), os.O_WRONLY, 0)
	d.must(err)
	_, err = f.WriteAt(b, 0)
	d.must(errors.Join(err, f.Close()))
}

func (d *disk) say(format string, args ...any) { d.did = append(d.did, fmt.Sprintf(format, args...)) }

// flip changes one bit between two places of a file.
func (d *disk) flip(name string, from, to int) {
	d.t.Helper()
	b := d.read(name)
	at, bit := from+d.random.IntN(to-from), d.random.IntN(8)
	b[at] ^= 1 << bit
	d.write(name, b)
	d.say("bit %d of byte %d of %s flipped", bit, at, name)
}

// zero clears the bytes between two places of a file.
func (d *disk) zero(name string, from, to int) {
	d.t.Helper()
	b := d.read(name)
	clear(b[from:min(to, len(b))])
	d.write(name, b)
	d.say("bytes %d to %d of %s zeroed", from, to, name)
}

func (d *disk) cut(name string, at int) {
	d.t.Helper()
	d.must(os.Truncate(d.path(name), int64(at)))
	d.say("%s cut to %d bytes", name, at)
}

func (d *disk) remove(name string) {
	d.t.Helper()
	d.must(os.RemoveAll(d.path(name)))
	d.say("%s removed", name)
}

// The files of a data directory.
const (
	floorFile    = "raft/floor"
	voteFile     = "raft/vote"
	segmentsFile = "raft/segments"
	stampFile    = "raft/VERSION"
	identityFile = "identity.json"
	peersFile    = "peers"
)

// segments are the files of the log, the newest one last.
func (d *disk) segments() (names []string) {
	d.t.Helper()
	paths, err := filepath.Glob(d.path("raft/*.wal"))
	d.must(err)
	for _, p := range paths {
		names = append(names, "raft/"+filepath.Base(p))
	}
	slices.Sort(names)
	return names
}

func (d *disk) tail() string {
	all := d.segments()
	return all[len(all)-1]
}

// frame is a frame of a segment file.
type frame struct {
	file    string
	at, end int
	kind    byte
	index   uint64 // of an entry
}

// frames returns the frames of a sound log.
func (d *disk) frames() (all []frame) {
	for _, name := range d.segments() {
		all = append(all, d.framesOf(name)...)
	}
	return all
}

func (d *disk) framesOf(name string) (all []frame) {
	b := d.read(name)
	for at := 32; at+8 <= len(b) && b[at] != 0; {
		f := frame{file: name, at: at, end: at + 8, kind: b[at]}
		if f.kind != segment.FrameCommit {
			f.end += (int(bin.LittleEndian.Uint32(b[at+4:])) + 7) / 8 * 8
		}
		if f.kind == segment.FrameEntry {
			f.index, _ = bin.Uvarint(b[at+8:])
		}
		all = append(all, f)
		at = f.end
	}
	return all
}

// entries returns the log's entries, only those above the newest snapshot or only
// those that it covers.
func (d *disk) entries(above bool) (all []frame) {
	covered := d.snapshot().index
	for _, f := range d.frames() {
		if f.kind == segment.FrameEntry && (f.index > covered) == above {
			all = append(all, f)
		}
	}
	return all
}

func (d *disk) entry(above bool) frame {
	d.t.Helper()
	all := d.entries(above)
	if len(all) == 0 {
		d.t.Fatalf("no entry is above the snapshot: %t", above)
	}
	return all[d.random.IntN(len(all))]
}

// commit returns a commit after an entry above the snapshot, but not the last one.
func (d *disk) commit() frame {
	d.t.Helper()
	first := d.entries(true)[0]
	var all []frame
	for _, f := range d.frames() {
		if f.kind == segment.FrameCommit && f.file == d.tail() && (f.file != first.file || f.at > first.at) {
			all = append(all, f)
		}
	}
	if len(all) < 2 {
		d.t.Fatal("the snapshot is too new: there is one commit above it")
	}
	return all[d.random.IntN(len(all)-1)]
}

// end returns where the newest segment's last frame ends.
func (d *disk) end() int {
	all := d.framesOf(d.tail())
	return all[len(all)-1].end
}

// snapshot returns the newest snapshot.
func (d *disk) snapshot() (newest snapshot) {
	for _, s := range d.snapshots() {
		if s.index >= newest.index {
			newest = s
		}
	}
	return newest
}

// olderSnapshot returns the index of the second newest snapshot; 0: there is none.
func (d *disk) olderSnapshot() (older uint64) {
	newest := d.snapshot()
	for _, s := range d.snapshots() {
		if s.name != newest.name {
			older = max(older, s.index)
		}
	}
	return older
}

// checked reports whether the newest snapshot has its check: removing it does no
// harm, and it stays removed.
func (d *disk) checked() bool {
	_, err := os.Stat(d.path(filepath.Join(d.snapshot().name, "check")))
	return err == nil
}

type snapshot struct {
	name  string
	index uint64
}

func (d *disk) snapshots() (all []snapshot) {
	list, err := os.ReadDir(d.path("raft/snapshots"))
	if err != nil {
		return nil
	}
	for _, e := range list {
		parts := strings.Split(e.Name(), "-") // term, index, milliseconds
		if len(parts) != 3 || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if index, err := strconv.ParseUint(parts[1], 10, 64); err == nil {
			all = append(all, snapshot{"raft/snapshots/" + e.Name(), index})
		}
	}
	return all
}

// promised is what an agent must not forget.
type promised struct {
	term        uint64
	floor       [2]uint64 // term and index
	incarnation string
}

func (d *disk) promised() (p promised) {
	d.t.Helper()
	p.term = bin.LittleEndian.Uint64(d.read(voteFile)[4:])
	b := d.read(floorFile)
	turn := uint64(0)
	for _, at := range []int{0, 4096} { // two slots; the greater turn is newer
		field := func(n int) uint64 { return bin.LittleEndian.Uint64(b[at+4+8*n:]) }
		if field(0) > turn {
			turn, p.floor = field(0), [2]uint64{field(1), field(2)}
		}
	}
	_, rest, _ := strings.Cut(string(d.read(identityFile)), `"incarnation": "`)
	p.incarnation, _, _ = strings.Cut(rest, `"`)
	return p
}

// keep copies a directory, with a second link to the stamp, which is identified by
// its inode.
func (d *disk) keep(to string) {
	d.t.Helper()
	d.must(filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(d.dir, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !e.Type().IsRegular():
			return nil
		case name == stampFile:
			if err := os.Link(path, filepath.Join(to, "stamp")); err != nil {
				return err
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	}))
}

// putBack restores a directory, and the stamp as the same file.
func (d *disk) putBack(from string) {
	d.t.Helper()
	stamp, err := os.ReadFile(filepath.Join(from, stampFile))
	d.must(err)
	d.must(os.RemoveAll(d.dir))
	d.must(os.CopyFS(d.dir, os.DirFS(from)))
	d.must(os.Remove(d.path(stampFile)))
	d.must(os.Rename(d.path("stamp"), d.path("stamp.copy")))
	d.must(os.Link(filepath.Join(from, "stamp"), d.path(stampFile)))
	d.must(os.Remove(d.path("stamp.copy")))
	d.must(os.WriteFile(d.path(stampFile), stamp, 0o600))
	d.must(os.RemoveAll(from))
}
