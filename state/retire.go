package state

// Retire is the operation with which a caller releases the NAME of its request
// ids: its mark and its records are dropped. It takes no revision, and an unknown
// name is not an error.
type Retire struct {
	Name string
}

// About is part of Command.
func (c *Retire) About() About { return About{Name: "retire", Spare: true} }

// Validate is part of Command: any name may be released.
func (c *Retire) Validate() error { return nil }

// Append is part of Command.
func (c *Retire) Append(b []byte) []byte {
	return append(append(b, commandVersion, commandRetire), c.Name...)
}

func (c *Retire) decode(args []byte) error {
	c.Name = string(args)
	return nil
}

func (c *Retire) check(*system, *Turn) error { return nil }

func (c *Retire) apply(s *State, _ *Turn, caller string) { s.system.records.retire(caller, c.Name) }
