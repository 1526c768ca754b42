package interrextest

// CheckFSMError is CheckFSM, which says what it has found.
var CheckFSMError = checkFSM
