package main

import (
	"errors"

	"github.com/interrex/interrex"
)

// exit ends the process with a code, and says nothing more.
type exit int

// Error implements error.
func (exit) Error() string { return "exit" }

// usageError is what the command line itself got wrong.
type usageError struct{ error }

// Unwrap gives what is wrong.
func (e usageError) Unwrap() error { return e.error }

// exitUsage is the code of a usageError, the same as that of an invalid
// request.
const exitUsage = 2

// exitCode gives the code of an error's kind (see interrex.Kind.Numbers), 2 for
// what the command line got wrong, 1 for anything else, and the text to print.
func exitCode(err error) (int, string) {
	var code exit
	if errors.As(err, &code) {
		return int(code), ""
	}
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage, err.Error()
	}
	if kind := interrex.KindOf(err); kind != "" {
		return kind.Numbers().Exit, err.Error()
	}
	return 1, err.Error()
}
