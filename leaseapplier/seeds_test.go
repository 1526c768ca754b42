package leaseapplier

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seeds returns the first and the number of the seeds that a random test takes: other
// ones at each run, so that it does not always use the same few. INTERREX_SEED
// is the first one, INTERREX_SEEDS how many.
func Seeds(usual, short uint64) (first, n uint64) {
	first, n = rand.Uint64N(1<<32), usual
	if testing.Short() {
		n = short
	}
	if set, err := strconv.ParseUint(os.Getenv("INTERREX_SEED"), 10, 64); err == nil {
		first = set
	}
	if set, err := strconv.ParseUint(os.Getenv("INTERREX_SEEDS"), 10, 64); err == nil {
		n = set
	}
	return first, n
}
