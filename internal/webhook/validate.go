package webhook

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wording"
)

const (
	maxName     = 63      // bytes
	maxURL      = 2 << 10 // bytes
	maxPrefixes = 16
	maxHeaders  = 16
	maxHeader   = 4 << 10 // bytes of a header's value
	minSecret   = 16      // bytes
	maxSecret   = 256     // bytes
)

// The kinds that a hook can be for: those that an operation is announced with, and
// those that are only published afterwards.
var (
	announced = []string{
		interrex.LeaseClaimed, interrex.LeaseTakenOver, interrex.LeaseTransferred, interrex.LeaseReleased, interrex.LeaseForced,
		interrex.LeasePinned, interrex.LeaseUnpinned, interrex.ResourceWritten, interrex.ResourceDeleted, interrex.UserChange,
	}
	happening = []string{
		interrex.LeaseExpired, interrex.MemberAdded, interrex.MemberRemoved, interrex.MemberChanged, interrex.WebhookSet, interrex.WebhookDeleted,
		"fsm.applied",
	}
)

// Kinds returns the kinds of all events of interrex's own tables.
func Kinds() []string { return slices.Concat(announced, happening) }

const (
	maxHeaderName = 128 // bytes
	maxShown      = 80  // bytes of a value that an error quotes
)

// reserved are headers that the agent sets.
var reserved = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade", "Te", "Keep-Alive", "Proxy-Connection"}

// Validate reports which field is not allowed.
func (s *Spec) Validate() error {
	if err := validateName(s.Name); err != nil {
		return err
	}
	if err := validateURL(s.URL); err != nil {
		return err
	}
	if s.When != interrex.WebhookBefore && s.When != interrex.WebhookAfter {
		return interrex.Errorf(interrex.ErrInvalid, "when: before or after are allowed, not %q", string(s.When))
	}
	if s.OnFailure != interrex.WebhookRefuse && s.OnFailure != interrex.WebhookAllow {
		return interrex.Errorf(interrex.ErrInvalid, "on_failure: refuse or allow are allowed, not %q", string(s.OnFailure))
	}
	if s.Timeout < limits.MinWebhookTimeout || s.Timeout > limits.MaxWebhookTimeout {
		return interrex.Errorf(interrex.ErrInvalid, "timeout: %s to %s are allowed, not %v",
			wording.Rounded(limits.MinWebhookTimeout), wording.Rounded(limits.MaxWebhookTimeout), s.Timeout)
	}
	for _, check := range []func() error{s.validateKinds, s.validatePrefixes, s.validateHeaders} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func validateName(name string) error {
	if len(name) == 0 || len(name) > maxName || strings.ContainsFunc(name, notOfName) {
		return interrex.Errorf(interrex.ErrInvalid, "name: 1 to %d of a-z 0-9 . _ - are allowed, not %q", maxName, wording.Excerpt(name, maxShown))
	}
	return nil
}

func notOfName(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", r)
}

// validateURL checks only what every version of the binary checks in the same way.
// That the rest can be parsed is checked where the hook is set.
func validateURL(url string) error {
	if len(url) > maxURL {
		return interrex.Errorf(interrex.ErrTooLarge, "url: at most %d bytes are allowed, not %d", maxURL, len(url))
	}
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	switch {
	case scheme != "http" && scheme != "https", host == "":
		return interrex.Errorf(interrex.ErrInvalid, "url: it must be http://HOST/PATH or https://HOST/PATH, in lower case")
	case strings.Contains(host, "@"):
		return interrex.Errorf(interrex.ErrInvalid, "url: it must not have a user and password, because it is shown: use a header")
	case strings.Contains(url, "#"):
		return interrex.Errorf(interrex.ErrInvalid, "url: the part after # would not be sent: leave it out")
	case strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }):
		return interrex.Errorf(interrex.ErrInvalid, "url: spaces and control characters are not allowed in it")
	}
	return nil
}

func (s *Spec) validateKinds() error {
	for i, kind := range s.Kinds {
		switch {
		case slices.Contains(s.Kinds[:i], kind):
			return interrex.Errorf(interrex.ErrInvalid, "kinds: %s appears twice", kind)
		case slices.Contains(announced, kind):
		case slices.Contains(happening, kind):
			if s.When == interrex.WebhookBefore {
				return interrex.Errorf(interrex.ErrInvalid, "kinds: %s is never sent before the event: set a hook that is called after", kind)
			}
		default:
			return interrex.Errorf(interrex.ErrInvalid, "kinds: %q is not one of %s", wording.Excerpt(kind, maxShown), strings.Join(Kinds(), ", "))
		}
	}
	return nil
}

func (s *Spec) validatePrefixes() error {
	if n := len(s.Prefixes); n > maxPrefixes {
		return interrex.Errorf(interrex.ErrInvalid, "prefixes: at most %d are allowed, not %d", maxPrefixes, n)
	}
	for i, p := range s.Prefixes {
		if len(p) == 0 || len(p) > maxPrefix || !utf8.ValidString(p) {
			return interrex.Errorf(interrex.ErrInvalid, "prefixes: 1 to %d bytes of UTF-8 are allowed, not %q", maxPrefix, wording.Excerpt(p, maxShown))
		}
		if slices.Contains(s.Prefixes[:i], p) {
			return interrex.Errorf(interrex.ErrInvalid, "prefixes: %q appears twice", wording.Excerpt(p, maxShown))
		}
	}
	return nil
}

// maxPrefix is in bytes. The caller of Set truncates longer prefixes, which keys of
// resources can have.
const maxPrefix = 1024

func (s *Spec) validateHeaders() error {
	if n := len(s.Headers); n > maxHeaders {
		return interrex.Errorf(interrex.ErrInvalid, "headers: at most %d are allowed, not %d", maxHeaders, n)
	}
	for i, h := range s.Headers {
		switch {
		case len(h.Name) == 0 || len(h.Name) > maxHeaderName || strings.ContainsFunc(h.Name, func(r rune) bool { return !tokenRune(r) }):
			return interrex.Errorf(interrex.ErrInvalid, "headers: %q is not a header name", wording.Excerpt(h.Name, maxShown))
		case slices.Contains(reserved, http.CanonicalHeaderKey(h.Name)) || strings.HasPrefix(http.CanonicalHeaderKey(h.Name), "Interrex-"):
			return interrex.Errorf(interrex.ErrInvalid, "headers: %s is set by the agent", h.Name)
		case i > 0 && s.Headers[i-1].Name >= h.Name:
			return interrex.Errorf(interrex.ErrInvalid, "headers: %s appears twice, or out of order: sort headers by name", h.Name)
		case len(h.Value) > maxHeader:
			return interrex.Errorf(interrex.ErrTooLarge, "headers: the value of %s has %d bytes, at most %d are allowed", h.Name, len(h.Value), maxHeader)
		case strings.ContainsFunc(string(h.Value), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == utf8.RuneError }):
			return interrex.Errorf(interrex.ErrInvalid, "headers: the value of %s has control characters, or is not UTF-8", h.Name)
		}
	}
	return nil
}

// tokenRune reports whether a header name may contain r.
func tokenRune(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func validateSecret(s Secret) error {
	if s == "" {
		return nil
	}
	if len(s) < minSecret || len(s) > maxSecret ||
		strings.ContainsFunc(string(s), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return interrex.Errorf(interrex.ErrInvalid, "secret: %d to %d bytes of printable ASCII are allowed; leave it out to have one generated",
			minSecret, maxSecret)
	}
	return nil
}
