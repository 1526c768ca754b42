package wire

import (
	"net/http"
	"strconv"
	"time"

	"github.com/interrex/interrex"
)

// HeaderKnown is a header of requests: a revision that the caller knew before the first
// attempt of a request whose id has no name.
const HeaderKnown = "Interrex-Known-Revision"

// The headers of responses that clients and other agents read.
const (
	// HeaderEpoch has the cluster's epoch, in the form of interrex.Epoch. An agent that
	// is not yet in a cluster does not send it.
	HeaderEpoch = "Interrex-Epoch"
	// HeaderLeader has the leader's ID; empty if none is known there.
	HeaderLeader = "Interrex-Leader-Id"
	// HeaderRefused is in the response to a stream that is refused before it begins:
	// nothing that is sent on it is read.
	HeaderRefused = "Interrex-Refused"
)

// SetRetryAfter sets the header that says when to retry what failed with err, if it may
// be retried.
func SetRetryAfter(h http.Header, err error) {
	if wait := interrex.RetryAfter(err); wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(max(1, wait.Round(time.Second)/time.Second))))
	}
}
