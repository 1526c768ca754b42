package interrextest

// CheckFSMError is CheckFSM, returning what it has found.
var CheckFSMError = checkFSM
