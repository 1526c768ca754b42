package interrex

// Proposal is a command to an embedder's own state machine or table. Its answer is the
// state machine's result, or the table's reply in its own encoding, and is set also
// beside the error of a state machine that refused the command: that took a revision
// too.
type Proposal struct {
	// Table is the table's ID, from 256 on; 0: the agent's own state machine
	// (agent.Config.FSM).
	Table uint16
	// Data is the command, in the table's own encoding.
	Data []byte
	// RequestID is the caller's own: then one attempt is made, and the caller
	// counts the attempts. Empty: a library fills one in, and retries
	// automatically.
	RequestID string
	Attempt   uint32
	Fence     Fence
}
