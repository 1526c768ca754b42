package founding

import (
	"crypto/rand"
	"encoding/hex"
)

// Random returns n random bytes.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never returns an error: it ends the process instead
	return b
}

// RandomHex returns n random bytes in hexadecimal digits.
func RandomHex(n int) string { return hex.EncodeToString(Random(n)) }
