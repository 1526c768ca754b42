package raftdir

import "slices"

// Bytes is how much of the disk the log has: its segments, each of which is
// reserved when it is made.
func (d *Directory) Bytes() (n int64) {
	for _, s := range d.segments.now().Segments {
		n += int64(s.SizeLimit)
	}
	return n
}

// Since returns the oldest index from which on the log has at most so many bytes,
// as whole segments; the newest one is always among them.
func (d *Directory) Since(bytes int64) (index uint64) {
	for _, s := range slices.Backward(d.segments.now().Segments) {
		if bytes -= int64(s.SizeLimit); bytes < 0 && index > 0 {
			break
		}
		index = max(s.MinIndex, 1)
	}
	return index
}
