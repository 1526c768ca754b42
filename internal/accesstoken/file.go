package accesstoken

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// File is the file of an access token, which is read again when it has changed. Its zero
// value with a Path is ready for use.
type File struct {
	Path string

	mu    sync.Mutex
	token string
	seen  fs.FileInfo // of the file when it was read
}

// Token returns the token. While the file cannot be read, it is the one of before.
func (f *File) Token() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := os.Stat(f.Path)
	if err == nil && f.seen != nil && os.SameFile(now, f.seen) && now.ModTime().Equal(f.seen.ModTime()) && now.Size() == f.seen.Size() {
		return f.token, nil
	}
	if err != nil {
		err = fmt.Errorf("cannot read the access token: %w", err)
	} else {
		var token string
		if token, err = ReadFile(f.Path); err == nil {
			f.token, f.seen = token, now
		}
	}
	if f.token == "" {
		return "", err
	}
	return f.token, nil
}

// ReadFile reads the file of an access token.
func ReadFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the access token: %w", err)
	}
	return Check(string(text))
}

// Check returns the text of an access token without the space around it.
func Check(text string) (string, error) {
	if _, _, err := Parse(text); err != nil {
		return "", err
	}
	return strings.TrimSpace(text), nil
}
