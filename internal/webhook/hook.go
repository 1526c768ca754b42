package webhook

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Secret is a text that no verb of fmt shows.
type Secret string

// Format implements fmt.Formatter.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Header is a header that is sent with each call.
type Header struct {
	Name  string
	Value Secret
}

// Spec is the part of a hook that a Set sets.
type Spec struct {
	Name      string
	URL       string
	When      interrex.WebhookWhen
	Kinds     []string // none: all
	Prefixes  []string // none: all keys
	Headers   []Header // by name
	Timeout   time.Duration
	OnFailure interrex.WebhookPolicy
	DryRun    bool
}

// Hook is a webhook. It is immutable.
type Hook struct {
	Spec
	Secret   Secret            // signs the calls
	Created  interrex.Revision // of the set that created it: distinguishes hooks of one name
	Revision interrex.Revision // of its last set
	// Position is the revision up to which events are known to be delivered; 0 for a
	// hook that is called before operations.
	Position interrex.Revision
	// SkippedFrom to SkippedTo is the range that was skipped last, and Skipped the
	// total number of skipped revisions.
	SkippedFrom, SkippedTo interrex.Revision
	Skipped                uint64
}

// Wants reports whether the hook is for a kind and a key.
func (h *Hook) Wants(kind, key string) bool {
	return (len(h.Kinds) == 0 || slices.Contains(h.Kinds, kind)) && h.wantsKey(key)
}

func (h *Hook) wantsKey(key string) bool {
	return len(h.Prefixes) == 0 || slices.ContainsFunc(h.Prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// Asks reports whether the hook must be called before an announced operation: it is
// for an event that the operation may publish.
func (h *Hook) Asks(a state.Announcement) bool {
	kind := len(a.Kinds) > 0 && (len(h.Kinds) == 0 || slices.ContainsFunc(a.Kinds, func(k string) bool { return slices.Contains(h.Kinds, k) }))
	within := a.Prefix && slices.ContainsFunc(h.Prefixes, func(p string) bool { return strings.HasPrefix(p, a.Key) })
	return kind && h.When == interrex.WebhookBefore && (within || h.wantsKey(a.Key))
}

// Plain returns the hook without its secrets: of its headers it only has the names.
func (h *Hook) Plain() *Hook {
	plain := *h
	plain.Secret = ""
	plain.Headers = nil
	for _, header := range h.Headers {
		plain.Headers = append(plain.Headers, Header{Name: header.Name})
	}
	return &plain
}

// State returns the hook as reads return it, without its secrets.
func (h *Hook) State() interrex.WebhookState {
	s := interrex.WebhookState{
		Webhook: interrex.Webhook{
			Name: h.Name, URL: h.URL, When: h.When, Kinds: h.Kinds, Prefixes: h.Prefixes, Timeout: h.Timeout, DryRun: h.DryRun, OnFailure: h.OnFailure,
		},
		Revision: h.Revision, Position: h.Position, SkippedFrom: h.SkippedFrom, SkippedTo: h.SkippedTo, Skipped: h.Skipped,
	}
	for _, header := range h.Headers {
		if s.Headers == nil {
			s.Headers = map[string]string{}
		}
		s.Headers[header.Name] = ""
	}
	return s
}

// size returns the approximate size of the hook in bytes.
func (h *Hook) size() int {
	n := 256 + len(h.Name) + len(h.URL)
	for _, text := range slices.Concat(h.Kinds, h.Prefixes) {
		n += len(text) + 16
	}
	for _, header := range h.Headers {
		n += len(header.Name) + 16
	}
	return n
}
