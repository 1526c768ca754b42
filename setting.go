package interrex

// Setting is a replicated setting, the same on every agent.
type Setting struct {
	Name    string // TABLE.NAME
	Value   string
	Default string
	About   string // what it is, with its unit
}
