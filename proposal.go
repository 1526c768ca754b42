package interrex

// Proposal is a command to an embedder's own table.
type Proposal struct {
	// Table is the table's ID, from 256 on.
	Table uint16
	// Data is the command, in the table's own encoding.
	Data []byte
	// RequestID is the caller's own: then there is one attempt, and the caller
	// counts them. Empty: a library fills one in, and retries by itself.
	RequestID string
	Attempt   uint32
	Fence     Fence
}

// ProposalAnswer answers a Proposal.
type ProposalAnswer struct {
	// Reply is what the table answers, in its own encoding.
	Reply    []byte
	Replayed bool // an earlier attempt had done it; nothing was done again
	Revision Revision
}
