package interrex

import "fmt"

// Epoch distinguishes the recoveries of one cluster. Agents only talk to agents of
// the same epoch.
type Epoch struct {
	Number uint64 `json:"number"` // counts the recoveries
	Bits   uint64 `json:"bits"`   // random: distinguishes two of the same number
}

// String returns the number, a dash, and the bits as 16 hexadecimal digits.
func (e Epoch) String() string { return fmt.Sprintf("%d-%016x", e.Number, e.Bits) }
