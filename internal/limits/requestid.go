package limits

import (
	"strconv"
	"strings"
)

// SplitRequestID reads NAME.N: a name, the last dot, and a decimal number
// without leading zeros.
func SplitRequestID(id string) (name string, number uint64, ok bool) {
	i := strings.LastIndexByte(id, '.')
	if i <= 0 || i == len(id)-1 {
		return "", 0, false
	}
	digits := id[i+1:]
	if digits[0] == '0' && len(digits) > 1 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return id[:i], number, err == nil
}
