//go:build !linux

package disk

// FileOf returns nothing on systems on which no agent runs: no directory is taken
// for a copy.
func FileOf(string) (string, error) { return "", nil }
