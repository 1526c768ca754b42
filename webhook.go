package interrex

import (
	"context"
	"time"
)

// The kinds of webhook event.
const (
	WebhookSet     = "webhook.set"
	WebhookDeleted = "webhook.deleted"
)

// WebhookWhen says when a webhook is called.
type WebhookWhen string

// A webhook is called before an operation, which it may veto, or after an event.
const (
	WebhookBefore WebhookWhen = "before"
	WebhookAfter  WebhookWhen = "after"
)

// WebhookPolicy says what happens to an operation when the call of a webhook
// before it fails.
type WebhookPolicy string

// The operation fails with ErrVetoed, or proceeds.
const (
	WebhookRefuse WebhookPolicy = "refuse"
	WebhookAllow  WebhookPolicy = "allow"
)

// Webhook is a URL that is called before operations or after events. A call is a
// POST of JSON: before an operation what is requested, after an event a Change as
// the feed has it. Its signature is in the header Interrex-Signature. A status of 200
// to 299 means yes; docs/semantics.md has the full contract.
type Webhook struct {
	Name string      // 1 to 63 of a-z 0-9 . _ -
	URL  string      // http or https, without a user
	When WebhookWhen // empty: before
	// Kinds are the kinds of event to be called for. None: all that are sent.
	Kinds []string
	// Prefixes are prefixes of the keys (NAMESPACE/NAME) to be called for. None:
	// all.
	Prefixes []string
	// Headers are sent with each call. Reads return their names with empty values.
	Headers   map[string]string
	Timeout   time.Duration // of one call, 100 ms to 30 s; 0: 2 s
	OnFailure WebhookPolicy // of a hook that is called before; empty: refuse
	DryRun    bool          // it is called and counted, but vetoes nothing
}

// WebhookRequest sets a webhook. An existing one of that name is replaced,
// headers included; it keeps its secret unless Secret is set, and its position as
// long as it is called after events.
type WebhookRequest struct {
	Webhook
	// Secret is the key that signs the calls, 16 to 256 bytes of printable ASCII.
	// Empty: the hook keeps its current one, or gets a random one.
	Secret string
	// RequestID is the caller's own: then one attempt is made, and the caller
	// counts the attempts. Empty: a library fills one in, and retries
	// automatically.
	RequestID string
	Attempt   uint32
	Fence     Fence
}

// WebhookAnswer is the response to a WebhookRequest.
type WebhookAnswer struct {
	Webhook WebhookState
	// Secret is the one generated for the hook. It is never shown again. Empty:
	// none was generated.
	Secret   string
	Replayed bool // an earlier attempt did it; nothing was done again
	Revision Revision
}

// WebhookState is a webhook as reads return it.
type WebhookState struct {
	Webhook
	Revision Revision // of its last set
	// Position is, for a hook that is called after events, the revision up to which
	// they are known to be delivered. It lags: later ones may have been delivered
	// too.
	Position Revision
	// SkippedFrom and SkippedTo are the last range of revisions that was skipped,
	// because they were no longer kept when their turn came; Skipped is the total
	// number of skipped revisions.
	SkippedFrom, SkippedTo Revision
	Skipped                uint64
	// Health is known only to the leader; nil elsewhere.
	Health *WebhookHealth
}

// WebhookHealth is the state of a webhook's calls, on the agent that makes them.
type WebhookHealth struct {
	// Breaker is "closed", "open" (the hook is not called, its policy applies) or
	// "half-open" (one trial call is made).
	Breaker  string
	Failures int    // in a row
	Error    string // the last one's; empty: none
	Since    time.Time
}

// WebhookDeletion deletes a webhook.
type WebhookDeletion struct {
	Name      string
	RequestID string
	Attempt   uint32
	Fence     Fence
}

// WebhookTest is a webhook's response to a sample.
type WebhookTest struct {
	Status   int           // of HTTP; 0: there was no response
	Duration time.Duration // of the call
	Body     string        // its beginning, without control characters
	Error    string        // why there was no response
	Agent    string        // that made the call
}

// Webhooks sets and reads webhooks: the same on every agent.
type Webhooks interface {
	// Set is for operators. A 17th webhook is ErrConflict.
	Set(ctx context.Context, r WebhookRequest) (WebhookAnswer, error)
	// Delete is for operators. One that does not exist is ErrNotFound.
	Delete(ctx context.Context, r WebhookDeletion) (replayed bool, at Revision, err error)
	// Get returns one webhook. One that does not exist is ErrNotFound.
	Get(ctx context.Context, name string, o ReadOptions) (WebhookState, Revision, error)
	// List returns all webhooks by name.
	List(ctx context.Context, o ReadOptions) ([]WebhookState, Revision, error)
	// Test sends a sample to one webhook, from the agent that receives the request.
	// It is for operators, and changes nothing.
	Test(ctx context.Context, name string) (WebhookTest, error)
}
