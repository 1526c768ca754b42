package wire

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
)
