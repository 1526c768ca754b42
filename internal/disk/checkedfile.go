package disk

import "fmt"

const checkedMagic = "ixk1"

// CheckedFile is a small file with a checksum.
type CheckedFile struct {
	// Path of the file, and About, its content in words, for errors.
	Path, About string
}

// Load returns what was last saved; nil with no error: nothing was.
func (c CheckedFile) Load() ([]byte, error) {
	b, err := ReadFile(c.Path)
	if err != nil || b == nil {
		return nil, err
	}
	content, err := CheckSum(b, checkedMagic)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.Path, ErrDamaged, err)
	}
	return content, nil
}

// Save replaces the content atomically and durably.
func (c CheckedFile) Save(content []byte) error {
	return ReplaceFile("save "+c.About, c.Path, AppendSum(append([]byte(checkedMagic), content...)))
}
