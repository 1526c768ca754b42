package raftdir

import "errors"

// ErrForgotten is the error of opening a directory that has lost its vote or its
// floor. An agent that does not know what it has promised may take part in
// nothing: its disk counts as wiped.
var ErrForgotten = errors.New("what this agent has promised is lost")
