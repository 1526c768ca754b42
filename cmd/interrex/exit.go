package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"syscall"

	"github.com/interrex/interrex"
)

// exit is an error that ends the process with a code and prints nothing.
type exit int

// Error implements error.
func (exit) Error() string { return "exit" }

// exitSignal plus a signal's number is the exit code after that signal.
const exitSignal = 128

// interrupt is a signal that told the command to end.
type interrupt syscall.Signal

// Error implements error.
func (i interrupt) Error() string { return "ended by a signal: " + syscall.Signal(i).String() }

// interrupted returns the exit of a command that a signal ended before it was done,
// and otherwise err. An outcome that is unknown is printed.
func (a *app) interrupted(ctx context.Context, err error) error {
	var by interrupt
	if err == nil || !errors.As(context.Cause(ctx), &by) {
		return err
	}
	if errors.Is(err, interrex.ErrOutcomeUnknown) {
		a.say("interrex: %v", err)
	}
	return exit(exitSignal + int(by))
}

// repeatable says how to repeat a request whose outcome is unknown, where the command can,
// unless the request's record was dropped: then it stays unknown.
func (a *app) repeatable(err error) error {
	var e *interrex.Error
	if !a.repeats || !errors.As(err, &e) || e.RequestID == "" || e.Lost > 0 {
		return err
	}
	return fmt.Errorf("%w; to find out, repeat the command within 10 minutes with %s--request-id %s: it will not be done twice", err, a.repeatWith, e.RequestID)
}

// secretLost says what to do about a secret that may have been made, and was not printed:
// another command makes another one.
func secretLost(err error, list string) error {
	if !errors.Is(err, interrex.ErrOutcomeUnknown) {
		return err
	}
	return fmt.Errorf("%w; '%s' shows whether the token was made: then revoke it, since its secret is lost", err, list)
}

// usageError is an error of the command line itself.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

// exitUsage is the code of a usageError, the same as that of an invalid
// request.
const exitUsage = 2

// caHint says how to make an agent's CA known, if that is what is wrong.
func caHint(err error) string {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return ": set INTERREX_CACERT to the PEM file of that CA"
	}
	return ""
}

// exitCode returns the code of an error's kind (see interrex.Kind.Exit), 2 for
// a usageError, 1 for anything else, and the text to print.
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
		return kind.Exit(), err.Error() + caHint(err)
	}
	return 1, err.Error()
}
