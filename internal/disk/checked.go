package disk

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Small files begin with four bytes for their kind, and end with the CRC-32C of
// everything before it.

// AppendSum appends the checksum of b to b.
func AppendSum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// CheckSum verifies b, and returns what is between the magic and the checksum.
func CheckSum(b []byte, magic string) ([]byte, error) {
	body := len(b) - 4
	switch {
	case body < len(magic) || !strings.HasPrefix(string(b), magic):
		return nil, errors.New("it is not a file of this kind")
	case crc32.Checksum(b[:body], castagnoli) != binary.LittleEndian.Uint32(b[body:]):
		return nil, errors.New("its checksum does not match")
	}
	return b[len(magic):body], nil
}
