package raftdir

import "errors"

// ErrForgotten is the error of opening a directory that has lost its vote or its
// floor. An agent that has lost its promises may not take part: its disk counts as
// wiped.
var ErrForgotten = errors.New("what this agent has promised is lost")
