package resource

import (
	"encoding/base32"
	"encoding/binary"

	"github.com/interrex/interrex/state"
)

// idBytes are the random bytes of a uid or generation: 26 characters.
const idBytes = 16

// alphabet is Crockford's, without characters that look alike.
var alphabet = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// minted are the random bits of one write.
type minted [2 * idBytes]byte

// mintedOf returns the bits that the leader minted. For an operation without any,
// such as a test's, it derives them from the revision.
func mintedOf(turn *state.Turn) (m minted) {
	if len(turn.Minted) == len(m) {
		copy(m[:], turn.Minted)
		return m
	}
	binary.BigEndian.PutUint64(m[:], uint64(turn.Revision))
	binary.BigEndian.PutUint64(m[idBytes:], uint64(turn.Revision))
	return m
}

func (m minted) uid() string        { return alphabet.EncodeToString(m[:idBytes]) }
func (m minted) generation() string { return alphabet.EncodeToString(m[idBytes:]) }
