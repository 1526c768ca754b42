package interrex

// Proposal is a command to an embedder's own state machine or table.
type Proposal struct {
	// Table is the table's ID, from 256 on; 0: the agent's own state machine
	// (agent.Config.FSM).
	Table uint16
	// Data is the command, in the table's own encoding.
	Data []byte
	// RequestID is the caller's own: then there is one attempt, and the caller
	// counts them. Empty: a library fills one in, and retries by itself.
	RequestID string
	Attempt   uint32
	Fence     Fence
}

// ProposalAnswer answers a Proposal. When a state machine refuses a command, it
// comes with the error: that took a revision too.
type ProposalAnswer struct {
	// Reply is the state machine's result, or what the table answers in its own
	// encoding.
	Reply    []byte
	Replayed bool // an earlier attempt had done it; nothing was done again
	Revision Revision
}
