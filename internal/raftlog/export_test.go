package raftlog

// ReadSegments reads the list of a directory's segments.
var ReadSegments = readSegments
