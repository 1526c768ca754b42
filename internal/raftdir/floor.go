package raftdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

const (
	floorName  = "floor"
	floorMagic = "ixf1"
	// floorSlot is the distance between the two slots of the file, so that a write
	// to one does not touch a block of the other. Each holds two copies, in separate
	// sectors.
	floorSlot   = 4096
	floorSector = 512
	floorBytes  = len(floorMagic) + 4*8 + 4
	// floorPeriod is how long a written floor waits for its sync: after a power
	// failure it may be that old.
	floorPeriod = time.Second
)

// floor stores the Floor on disk: in two slots of one file, with checksums, written
// in turn, so that a torn write leaves the other. A slot with no intact copy may
// have held a later floor than the other: the floor is then lost.
//
// Reading the value does not wait for the disk, and writing it not for a sync.
type floor struct {
	noSync bool
	file   floorFile
	value  atomic.Pointer[raftlog.Floor]

	mu    sync.Mutex
	turn  uint64 // number of the newest slot's write
	slot  [2 * floorSector]byte
	dirty bool // it is not on disk yet

	syncing sync.Mutex // held during a sync
}

type floorFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

// openFloor reads the floor of a directory.
func openFloor(dir string, noSync bool) (*floor, error) {
	path := filepath.Join(dir, floorName)
	if err := disk.MustBeRegular(path); err != nil {
		return nil, fmt.Errorf("cannot read the floor: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the floor: %w: %s is missing", ErrForgotten, path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the floor: %w", err)
	}
	o := &floor{file: f, noSync: noSync}
	if err := o.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot read the floor in %s: %w", path, err)
	}
	return o, nil
}

func (o *floor) read() error {
	var b [2 * floorSlot]byte
	n, err := o.file.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for at := 0; at < len(b); at += floorSlot {
		value, turn, ok := decodeSlot(b[at:min(at+floorSlot, max(n, at))])
		if !ok {
			return fmt.Errorf("%w: its checksums do not match", ErrForgotten)
		}
		if turn > o.turn {
			o.turn = turn
			o.value.Store(&value)
		}
	}
	return nil
}

// decodeSlot returns the newer of a slot's copies.
func decodeSlot(b []byte) (value raftlog.Floor, turn uint64, ok bool) {
	for _, at := range []int{0, floorSector} {
		if at+floorBytes > len(b) {
			continue
		}
		if f, t, err := decodeFloor(b[at : at+floorBytes]); err == nil && t > turn {
			value, turn, ok = f, t, true
		}
	}
	return value, turn, ok
}

// initialFloor returns the content of the file for a log that never held anything.
func initialFloor() []byte {
	b := make([]byte, 2*floorSlot)
	fillSlot(b, raftlog.Floor{}, 1)
	fillSlot(b[floorSlot:], raftlog.Floor{}, 2)
	return b
}

// fillSlot writes a floor into both sectors of a slot.
func fillSlot(b []byte, f raftlog.Floor, turn uint64) {
	copy(b[floorSector:], appendFloor(b[:0], f, turn))
}

// appendFloor encodes a floor into b, which must be empty: the checksum is of all
// of b.
func appendFloor(b []byte, f raftlog.Floor, turn uint64) []byte {
	b = append(b, floorMagic...)
	for _, v := range [...]uint64{turn, f.Term, f.Index, f.Since} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return disk.AppendSum(b)
}

func decodeFloor(b []byte) (f raftlog.Floor, turn uint64, err error) {
	body, err := disk.CheckSum(b, floorMagic)
	if err != nil {
		return raftlog.Floor{}, 0, err
	}
	at := func(n int) uint64 { return binary.LittleEndian.Uint64(body[8*n:]) }
	return raftlog.Floor{Position: raftlog.Position{Term: at(1), Index: at(2)}, Since: at(3)}, at(0), nil
}

func (o *floor) get() raftlog.Floor { return *o.value.Load() }

// raise records a position that was stored in a term, if it is past the floor.
func (o *floor) raise(p raftlog.Position, since uint64) error {
	if o.get().Reaches(p) {
		return nil
	}
	return o.write(raftlog.Floor{Position: p, Since: since})
}

// set writes a floor, even one that is lower, and syncs it to disk.
func (o *floor) set(p raftlog.Position, since uint64) error {
	return errors.Join(o.write(raftlog.Floor{Position: p, Since: since}), o.sync())
}

func (o *floor) write(f raftlog.Floor) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	fillSlot(o.slot[:], f, o.turn+1)
	if _, err := o.file.WriteAt(o.slot[:], int64(o.turn%2)*floorSlot); err != nil {
		return err
	}
	o.turn, o.dirty = o.turn+1, true
	o.value.Store(&f)
	return nil
}

// sync syncs the floor to disk.
func (o *floor) sync() error {
	o.syncing.Lock()
	defer o.syncing.Unlock()
	o.mu.Lock()
	due := o.dirty && !o.noSync
	o.dirty = false
	o.mu.Unlock()
	if !due {
		return nil
	}
	return o.file.Sync()
}

func (o *floor) close() error {
	return errors.Join(o.sync(), o.file.Close())
}
