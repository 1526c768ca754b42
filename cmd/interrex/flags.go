package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

// duration is a flag whose errors say which durations are allowed.
type duration struct {
	to          *time.Duration
	least, most time.Duration
	// none also allows 0, the flag's default.
	none bool
}

// Set implements pflag.Value.
func (d *duration) Set(text string) error {
	v, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("give a number with its unit, such as 30s; %s to %s are allowed", wording.Duration(d.least), wording.Duration(d.most))
	case (v < d.least || v > d.most) && !(d.none && v == 0):
		return fmt.Errorf("%s to %s are allowed", wording.Duration(d.least), wording.Duration(d.most))
	}
	*d.to = v
	return nil
}

// String implements pflag.Value.
func (d *duration) String() string {
	if d.to == nil || *d.to == 0 {
		return ""
	}
	return wording.Duration(*d.to)
}

// Type implements pflag.Value.
func (d *duration) Type() string { return "duration" }

// nonEmpty is a flag that rejects an empty value, which in a script is often an unset
// variable: it would count as if the flag were left out.
type nonEmpty string

// Set implements pflag.Value.
func (f *nonEmpty) Set(text string) error {
	if text == "" {
		return errors.New("it is empty: give a value, or leave the flag out")
	}
	*f = nonEmpty(text)
	return nil
}

// String implements pflag.Value.
func (f *nonEmpty) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *nonEmpty) Type() string { return "string" }

// valueVersion is a flag for the version of a value, which is a number.
type valueVersion string

// Set implements pflag.Value.
func (f *valueVersion) Set(text string) error {
	if err := (*nonEmpty)(f).Set(text); err != nil {
		return err
	}
	if _, err := strconv.ParseUint(text, 10, 64); err != nil {
		return errors.New("a version is a number, as 'kv get' shows it: give one, or leave the flag out")
	}
	return nil
}

// String implements pflag.Value.
func (f *valueVersion) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *valueVersion) Type() string { return "string" }

// ttlFlag adds --ttl; usage names its default.
func ttlFlag(c *cobra.Command, to *time.Duration, usage string) {
	c.Flags().Var(&duration{to: to, least: interrex.MinTTL, most: interrex.MaxTTL}, "ttl", "how long the lease lasts unless it is extended, 200ms to 24h"+usage)
}

// requestIDFlag adds --request-id to a command that makes one recorded request.
func (a *app) requestIDFlag(c *cobra.Command) {
	c.Flags().Var((*nonEmpty)(&a.requestID), "request-id", "repeat a request whose outcome is unknown: it will not be done twice")
}

// flagError returns the error of a flag, with what is allowed.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	text := err.Error() + ":"
	switch words := c.Flags().Args(); {
	case c.HasSubCommands() && len(words) > 0: // its flags are not known here
		return noSuchCommand(c, words[0])
	case errors.As(err, &unknown) && unknown.GetSpecifiedName() == "token":
		return usageError{errors.New("there is no flag --token: give the token of a lease as --lease-token or $INTERREX_LEASE_TOKEN; access tokens are never given in flags")}
	case errors.As(err, &unknown):
		text = unknownFlag(c, unknown)
	case errors.As(err, &missing):
		text = fmt.Sprintf("--%s needs a value: %s:", missing.GetFlag().Name, missing.GetFlag().Usage)
	case errors.As(err, &invalid):
		text = fmt.Sprintf("--%s: %q is not valid: %s:", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid))
	}
	return usageError{fmt.Errorf("%s see '%s --help'", text, c.CommandPath())}
}

func unknownFlag(c *cobra.Command, unknown *pflag.NotExistError) string {
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		return fmt.Sprintf("there is no flag -%s:", short)
	}
	name := unknown.GetSpecifiedName()
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := wording.Nearest(name, names); near != "" {
		return fmt.Sprintf("there is no flag --%s: did you mean --%s?", name, near)
	}
	return fmt.Sprintf("there is no flag --%s:", name)
}

// wanted says which values a flag takes.
func wanted(invalid *pflag.InvalidValueError) string {
	switch invalid.GetFlag().Value.Type() {
	case "int", "uint16", "uint64":
		return "a whole number is expected"
	case "bool":
		return "true or false is expected"
	}
	return invalid.Unwrap().Error()
}
