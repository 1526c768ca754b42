//go:build !linux

package disk

// FileOf knows nothing on systems where no agent runs: no directory is taken for a copy.
func FileOf(string) (string, error) { return "", nil }
