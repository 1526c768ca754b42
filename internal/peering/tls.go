package peering

// The protocols that share the port, distinguished by ALPN.
const (
	protocolRaft  = "interrex-raft/1"
	protocolAPI   = "interrex-api/1"
	protocolHello = "interrex-hello/1"
	// protocolJoin is the only one that asks for no client certificate: see JoinListener.
	protocolJoin = "interrex-join/1"
	// ForwardProtocol is for the connections of agents without raft: see
	// ForwardListener.
	ForwardProtocol = "interrex-forward/1"
)
