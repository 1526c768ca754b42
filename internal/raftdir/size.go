package raftdir

import "slices"

// Bytes returns the size of the log's segments, whose space is reserved when they
// are created.
func (d *Directory) Bytes() (n int64) {
	for _, s := range d.segments.now().Segments {
		n += int64(s.SizeLimit)
	}
	return n
}

// SnapshotBytes returns the size of the newest snapshot, or 0 without one.
func (d *Directory) SnapshotBytes() int64 { return d.snapshots.bytes() }

// Since returns the first index of the oldest segment from which the segments have
// at most so many bytes; the newest segment always counts.
func (d *Directory) Since(bytes int64) (index uint64) {
	for _, s := range slices.Backward(d.segments.now().Segments) {
		if bytes -= int64(s.SizeLimit); bytes < 0 && index > 0 {
			break
		}
		index = max(s.MinIndex, 1)
	}
	return index
}
