//go:build !linux

package raftdir

// fileOf knows nothing on systems where no agent runs: no directory is taken for a copy.
func fileOf(string) (string, error) { return "", nil }
