package projection

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/interrex/interrex"
)

// History identifies the cluster whose leases a copy has, and its epoch.
type History struct {
	Cluster string
	Epoch   interrex.Epoch
}

// String returns CLUSTER/EPOCH-BITS, as stored in the database; empty for the
// zero History.
func (h History) String() string {
	if h == (History{}) {
		return ""
	}
	return h.Cluster + "/" + h.Epoch.String()
}

func parseHistory(s string) (h History, err error) {
	if s == "" {
		return h, nil
	}
	cluster, epoch, _ := strings.Cut(s, "/")
	number, bits, _ := strings.Cut(epoch, "-")
	h.Cluster = cluster
	if h.Epoch.Number, err = strconv.ParseUint(number, 10, 64); err == nil {
		h.Epoch.Bits, err = strconv.ParseUint(bits, 16, 64)
	}
	if err != nil {
		return History{}, fmt.Errorf("the database has the history %q, which interrex did not write", s)
	}
	return h, nil
}

// mayReplace returns a ErrConflict error if a copy of h must not replace one of
// stored.
func (h History) mayReplace(stored History) error {
	var whose string
	switch {
	case stored == (History{}) || stored == h:
		return nil
	case stored.Cluster != h.Cluster:
		whose = fmt.Sprintf("of cluster %s, and this is cluster %s", stored.Cluster, h.Cluster)
	case stored.Epoch.Number > h.Epoch.Number:
		whose = fmt.Sprintf("of epoch %d, and this agent is in epoch %d: the cluster was recovered without it", stored.Epoch.Number, h.Epoch.Number)
	case stored.Epoch.Number == h.Epoch.Number:
		whose = fmt.Sprintf("of another recovery to epoch %d than this agent's", h.Epoch.Number)
	default:
		return nil
	}
	return interrex.Errorf(interrex.ErrConflict,
		"the database is %s; nothing was changed: give each cluster its own, or drop the tables lease_holders and lease_holders_position there", whose)
}
