package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
)

// Report is the result of a check of a directory.
type Report struct {
	// Notes say what is damaged and what is done about it, a sentence each; empty:
	// nothing is damaged.
	Notes []string
	// Snapshot is the position of the newest intact snapshot; zero: there is none.
	Snapshot Position
	// First and Last delimit the log's intact entries that continue from that
	// snapshot; 0: there are none.
	First, Last uint64
	// End is the end of the log or of the snapshot, whichever is later.
	End   Position
	Floor Floor
}

// Short reports whether this agent has stored entries that are no longer there.
func (r Report) Short() bool { return !r.End.Reaches(r.Floor.Position) }

// Check is the check of a log's segments before the log is opened, and the changes
// after which the log holds its intact entries and nothing else.
type Check struct {
	Report
	dir      string
	under    types.VFS // for segments that are rewritten
	list     types.PersistentState
	rebuilt  bool // the list was rebuilt
	pieces   []*piece
	orphans  []string // segments that the list does not name
	setAside []string // what else is damaged
}

// piece is one segment.
type piece struct {
	info    types.SegmentInfo
	name    string
	missing bool
	sound   bool
	index   int
	proved  Position // up to here the file is intact
	entries []found  // that are intact and belong to the log
	kept    []found
}

// Inspect checks a directory whose newest intact snapshot and floor are known,
// without changing it. A list of segments is rebuilt if it is damaged, or if the
// log ends before the floor by it and there are segments that it does not name.
func Inspect(dir string, snapshot Position, f Floor) (*Check, error) {
	list, damage := readSegments(dir)
	if damage != nil && !errors.Is(damage, disk.ErrDamaged) {
		return nil, damage
	}
	c := &Check{dir: dir, list: list, Report: Report{Snapshot: snapshot, Floor: f}}
	if err := c.examine(); err != nil {
		return nil, err
	}
	if damage == nil && (!c.Short() || len(c.orphans) == 0) {
		c.judge()
		return c, nil
	}
	again, err := c.rebuild()
	if err != nil {
		return nil, err
	}
	if damage == nil && c.End.Reaches(again.End) {
		again = c
	} else if damage == nil {
		damage = fmt.Errorf("the list of log segments is out of date: %w", disk.ErrDamaged)
	}
	if damage != nil {
		again.note("%v: it is rebuilt from the segments", damage)
	}
	again.judge()
	return again, nil
}

func (c *Check) rebuild() (*Check, error) {
	list, err := rebuildList(c.dir)
	if err != nil {
		return nil, err
	}
	again := &Check{dir: c.dir, list: list, rebuilt: true, Report: Report{Snapshot: c.Snapshot, Floor: c.Floor}}
	return again, again.examine()
}

func (c *Check) examine() error {
	for _, info := range c.list.Segments {
		p, err := readPiece(c.dir, info)
		if err != nil {
			return err
		}
		c.pieces = append(c.pieces, p)
	}
	c.choose()
	return c.findOrphans()
}

// List returns the list of segments, as Mend has left it.
func (c *Check) List() types.PersistentState { return c.list }

// Damaged adds damaged snapshots, by their directories.
func (c *Check) Damaged(snapshots ...string) {
	for _, name := range snapshots {
		c.note("snapshot %s is damaged", filepath.Base(name))
	}
	c.setAside = append(c.setAside, snapshots...)
}

func (c *Check) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

func readPiece(dir string, info types.SegmentInfo) (*piece, error) {
	p := &piece{info: info, name: segment.FileName(info)}
	b, err := disk.ReadFile(filepath.Join(dir, p.name))
	if err != nil {
		return nil, fmt.Errorf("cannot read log segment: %w", err)
	}
	if b == nil {
		p.missing = true
		return p, nil
	}
	s := scanSegment(b)
	last := uint64(math.MaxUint64)
	if p.sealed() {
		last = info.MaxIndex
	}
	p.entries, p.index = s.within(info.MinIndex, last), s.index
	known := len(s.entries) == 0 || headed(b, info)
	if known && s.proved > 0 {
		p.proved = s.entries[s.proved-1].position()
	}
	p.sound = s.sound && known && (!p.sealed() || s.index > 0 && int(info.IndexStart) == s.index)
	return p, nil
}

func (p *piece) sealed() bool { return !p.info.SealTime.IsZero() }

// headed reports whether a segment has the right header.
func headed(b []byte, info types.SegmentInfo) bool {
	at := func(n int) uint64 { return binary.LittleEndian.Uint64(b[n:]) }
	return at(8) == info.BaseIndex && at(16) == info.ID && at(24) == info.Codec
}

// choose finds the entries that continue from the snapshot without a gap.
func (c *Check) choose() {
	var run []found
	take := func() {
		if len(run) > 0 && c.connects(run) {
			c.First, c.Last = run[0].index, run[len(run)-1].index
			c.End = Position{Term: run[len(run)-1].term, Index: c.Last}
		}
		run = nil
	}
	for _, p := range c.pieces {
		for _, e := range p.entries {
			if n := len(run); n > 0 && (e.index != run[n-1].index+1 || e.term < run[n-1].term) {
				take()
			}
			run = append(run, e)
		}
	}
	take()
	c.End = Later(c.End, c.Snapshot)
	for _, p := range c.pieces {
		p.kept = scan{entries: p.entries}.within(c.First, c.Last)
	}
}

// connects reports whether entries continue from the snapshot: a log does not end
// before it, begins at most one entry after it, and has the same term at its index.
func (c *Check) connects(run []found) bool {
	first, last, at := run[0].index, run[len(run)-1].index, c.Snapshot.Index
	if first > at+1 || last < at {
		return false
	}
	return first > at || run[at-first].term == c.Snapshot.Term
}

// stays reports whether a segment's file can be kept as it is.
func (c *Check) stays(i int) bool {
	p := c.pieces[i]
	tail := i == len(c.pieces)-1 && !p.sealed()
	switch {
	case tail && len(p.entries) == 0:
		// Empty, or not created yet: its first entry must be the next one.
		return (p.missing || p.sound) && (c.Last == 0 && !p.missing || c.Last+1 == p.info.BaseIndex)
	case !p.sound || len(p.kept) != len(p.entries): // a missing one is not sound either
		return false
	}
	return tail || p.sealed() && len(p.kept) > 0
}

func (c *Check) findOrphans() error {
	names, err := disk.Named(c.dir, SegmentSuffix)
	if err != nil {
		return err
	}
	for _, path := range names {
		name := filepath.Base(path)
		c.list.NextSegmentID = max(c.list.NextSegmentID, segmentID(name)+1)
		if !slices.ContainsFunc(c.pieces, func(p *piece) bool { return p.name == name }) {
			c.orphans = append(c.orphans, name)
		}
	}
	return nil
}

// segmentID returns the segment's ID in the name of its file; 0: it has none.
func segmentID(name string) (id uint64) {
	var base uint64
	if n, err := fmt.Sscanf(name, "%020d-%016x.wal", &base, &id); n != 2 || err != nil {
		return 0
	}
	return id
}

// judge adds the notes on what is damaged.
func (c *Check) judge() {
	var bad []int
	for i := range c.pieces {
		if !c.stays(i) {
			bad = append(bad, i)
		}
	}
	if len(bad) == 1 && c.torn(bad[0]) {
		return
	}
	for _, i := range bad {
		c.describe(c.pieces[i])
	}
	if n := len(c.pieces); c.Short() && n > 0 && !slices.Contains(bad, n-1) {
		c.describeEnd(c.pieces[n-1])
	}
	if c.Short() {
		c.note("the log is intact up to %s, and this agent has stored more, up to %s", c.End, c.Floor.Position)
	}
}

// torn reports whether a segment looks as after a process that ended during an
// append: it is the newest, and all that was acknowledged is before the damage.
func (c *Check) torn(i int) bool {
	p := c.pieces[i]
	if i != len(c.pieces)-1 || p.sealed() || c.Short() {
		return false
	}
	whole := Later(c.Snapshot, p.proved)
	if i > 0 { // the one before stays, and has entries
		before := c.pieces[i-1].kept
		whole = Later(whole, before[len(before)-1].position())
	}
	return whole.Reaches(c.Floor.Position)
}

func (c *Check) describe(p *piece) {
	switch {
	case p.missing:
		c.note("log segment %s is missing", p.name)
	case len(p.kept) == 0:
		c.note("log segment %s is set aside: none of its entries continues those before them", p.name)
	default:
		c.note("log segment %s is damaged: its entries %d to %d are kept", p.name, p.kept[0].index, p.kept[len(p.kept)-1].index)
	}
}

// describeEnd describes a newest segment that looks intact although entries behind
// it were stored.
func (c *Check) describeEnd(p *piece) {
	if p.missing {
		c.note("log segment %s is missing", p.name)
		return
	}
	c.note("log segment %s holds nothing from index %d on", p.name, c.End.Index+1)
}

// Mend makes the log hold its intact entries and nothing else. What it removes is
// set aside, unless it is what a crash leaves. Nothing is removed before the list
// without it is on disk.
func (c *Check) Mend(f disk.Files, under types.VFS) error {
	c.under = under
	next := types.PersistentState{NextSegmentID: c.list.NextSegmentID}
	gone, changed, anew := c.orphans, c.rebuilt, false
	var copied []string // sound segments that are rewritten too
	for i, p := range c.pieces {
		stays := c.stays(i)
		if stays && !anew {
			next.Segments = append(next.Segments, p.info)
			continue
		}
		// Segments behind one with a new ID get a greater ID: if the list is
		// lost, the greater ID has precedence.
		changed, anew = true, anew || len(p.kept) > 0
		switch {
		case p.missing:
		case stays:
			copied = append(copied, p.name)
		default:
			gone = append(gone, p.name)
		}
		if len(p.kept) == 0 {
			continue
		}
		info, err := c.rewrite(p, next.NextSegmentID)
		if err != nil {
			// Otherwise each attempt would leave another file.
			_ = os.Remove(filepath.Join(c.dir, segment.FileName(info)))
			return disk.Classify("write log segment "+p.name+" anew", err)
		}
		next.Segments = append(next.Segments, info)
		next.NextSegmentID++
	}
	if c.sealTail(&next) || changed {
		if err := disk.Replace(f, filepath.Join(c.dir, SegmentsName), EncodeSegments(next)); err != nil {
			return disk.Classify("write the list of log segments", err)
		}
	}
	c.list = next
	return errors.Join(c.remove(f, gone), c.drop(copied))
}

// sealTail records that the newest segment is sealed, which the list does not yet
// say if a crash followed the append that sealed it, and adds an empty one.
func (c *Check) sealTail(s *types.PersistentState) (changed bool) {
	if len(s.Segments) == 0 {
		return false
	}
	tail := &s.Segments[len(s.Segments)-1]
	if tail.SealTime.IsZero() {
		p := c.pieces[len(c.pieces)-1]
		if p.index == 0 {
			return false
		}
		tail.SealTime, tail.MaxIndex, tail.IndexStart = time.Now(), c.Last, uint64(p.index)
	}
	s.Segments = append(s.Segments, types.SegmentInfo{
		ID: s.NextSegmentID, BaseIndex: c.Last + 1, MinIndex: c.Last + 1,
		SizeLimit: tail.SizeLimit, Codec: tail.Codec, CreateTime: tail.SealTime,
	})
	s.NextSegmentID++
	return true
}

// rewrite writes a sealed segment with the kept entries of another.
func (c *Check) rewrite(p *piece, id uint64) (types.SegmentInfo, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, p.name))
	if err != nil {
		return types.SegmentInfo{}, err
	}
	first, last := p.kept[0].index, p.kept[len(p.kept)-1].index
	info := types.SegmentInfo{
		ID: id, BaseIndex: first, MinIndex: first, Codec: p.info.Codec, CreateTime: time.Now(),
		// Room for all entries, so that it is not sealed before the last.
		SizeLimit: uint32(len(b) + 8*len(p.kept) + fileHeader + 4*frameHeader),
	}
	w, err := segment.NewFiler(c.dir, c.under).Create(info)
	if err != nil {
		return info, err
	}
	for batch := range slices.Chunk(p.kept, 1024) {
		var entries []types.LogEntry
		for _, e := range batch {
			at := e.at + frameHeader
			entries = append(entries, types.LogEntry{Index: e.index, Data: b[at : at+e.length]})
		}
		if err := w.Append(entries); err != nil {
			return info, errors.Join(err, w.Close())
		}
	}
	start, err := w.ForceSeal()
	info.IndexStart, info.MaxIndex, info.SealTime, info.SizeLimit = start, last, time.Now(), p.info.SizeLimit
	return info, errors.Join(err, w.Close())
}

// remove removes files that the log no longer needs.
func (c *Check) remove(f disk.Files, names []string) error {
	if len(c.Notes) == 0 {
		return c.drop(names)
	}
	names = append(names, c.setAside...)
	if len(names) == 0 {
		return nil
	}
	to, err := setAside(f, c.dir, names...)
	if err == nil {
		c.note("the damaged files are now in %s", to)
	}
	return err
}

func (c *Check) drop(names []string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(c.dir, name)); err != nil {
			return disk.Classify("remove an old log segment", err)
		}
	}
	return nil
}

// asideName is the directory for damaged files, with one directory in it for each
// time that some were found.
const asideName = "damaged"

func setAside(f disk.Files, dir string, names ...string) (to string, err error) {
	to = filepath.Join(dir, asideName, time.Now().UTC().Format("20060102T150405.000000000"))
	if err := disk.MakePrivate(to); err != nil {
		return "", disk.Classify("set aside what is damaged", err)
	}
	for _, name := range names {
		if err := f.Rename(filepath.Join(dir, name), filepath.Join(to, filepath.Base(name))); err != nil {
			return "", disk.Classify("set aside "+name, err)
		}
	}
	return to, disk.Classify("set aside what is damaged", errors.Join(f.Sync(to), f.Sync(dir)))
}

// Members sets members to the newest configuration in the entries behind the
// snapshot, if there is one.
func (c *Check) Members(members *raft.Configuration) error {
	return c.Each(func(log *raft.Log) error {
		if log.Type == raft.LogConfiguration {
			*members = raft.DecodeConfiguration(log.Data)
		}
		return nil
	})
}

// Each calls visit for each entry behind the snapshot, in order, until it returns an
// error. It may keep the entry.
func (c *Check) Each(visit func(*raft.Log) error) error {
	for _, p := range c.pieces {
		if len(p.kept) == 0 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(c.dir, p.name))
		if err != nil {
			return fmt.Errorf("cannot read log segment: %w", err)
		}
		for _, e := range p.kept {
			if e.index <= c.Snapshot.Index {
				continue
			}
			log, err := e.entry(b)
			if err == nil {
				err = visit(log)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// entry decodes an entry of a segment.
func (e found) entry(segment []byte) (*raft.Log, error) {
	data, ok := Unseal(e.index, segment[e.at+frameHeader:e.at+frameHeader+e.length])
	if !ok {
		return nil, fmt.Errorf("cannot read log entry %d: %w", e.index, disk.ErrDamaged)
	}
	log := new(raft.Log)
	if err := new(wal.BinaryCodec).Decode(data, log); err != nil {
		return nil, fmt.Errorf("cannot read log entry %d: %w", e.index, err)
	}
	return log, nil
}
