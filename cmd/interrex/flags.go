package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
)

// duration is a flag that says which durations are allowed.
type duration struct {
	to          *time.Duration
	least, most time.Duration
	// none allows 0 beside least to most: the flag's default.
	none bool
}

// Set implements pflag.Value.
func (d *duration) Set(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil || (v < d.least || v > d.most) && !(d.none && v == 0) {
		return fmt.Errorf("%s to %s are allowed", shortDuration(d.least), shortDuration(d.most))
	}
	*d.to = v
	return nil
}

// String implements pflag.Value.
func (d *duration) String() string {
	if d.to == nil || *d.to == 0 {
		return ""
	}
	return shortDuration(*d.to)
}

// Type implements pflag.Value.
func (d *duration) Type() string { return "duration" }

// shortDuration leaves out the zeros at the end: 24h, not 24h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ttlFlag is --ttl; a usage ends with what it is when it is left out.
func ttlFlag(c *cobra.Command, to *time.Duration, usage string) {
	c.Flags().Var(&duration{to: to, least: interrex.MinTTL, most: interrex.MaxTTL}, "ttl", "200ms to 24h"+usage)
}

// requestIDFlag is --request-id, for a command that makes one recorded request.
func (a *app) requestIDFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.requestID, "request-id", "", "repeat a request whose outcome is unknown: it is not done twice")
}

// flagError is every error of a flag: it says what is allowed.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageError{fmt.Errorf("%w: see '%s --help'", err, c.CommandPath())}
	}
	name := unknown.GetSpecifiedName()
	if name == "token" {
		return usageError{errors.New("there is no --token: the token of a lease is --lease-token (or $INTERREX_LEASE_TOKEN), and access tokens are never in flags")}
	}
	hint := ""
	if unknown.GetSpecifiedShortnames() == "" {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(name, names); near != "" {
			hint = fmt.Sprintf(": did you mean --%s?", near)
		}
	}
	return usageError{fmt.Errorf("%s%s see '%s --help'", err.Error(), orDefault(hint, ":"), c.CommandPath())}
}

// nearest gives the one of names that is closest to word; "" when more than
// half of the word would have to change.
func nearest(word string, names []string) string {
	best, least := "", len(word)/2+1
	for _, name := range names {
		d := config.Distance(word, name)
		if strings.HasPrefix(name, word) {
			d = 0
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}
