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

// WebhookPolicy says what becomes of an operation when a webhook that is asked
// before it cannot be asked.
type WebhookPolicy string

// The operation is refused, as ErrVetoed, or goes on.
const (
	WebhookRefuse WebhookPolicy = "refuse"
	WebhookAllow  WebhookPolicy = "allow"
)

// Limits of webhooks.
const (
	MaxWebhooks       = 16
	MinWebhookTimeout = 100 * time.Millisecond
	MaxWebhookTimeout = 30 * time.Second
	// DefaultWebhookTimeout is that of a hook that says nothing.
	DefaultWebhookTimeout = 2 * time.Second
)

// Webhook says what is called, and when. A call is a POST of JSON: before an
// operation a hookcaller.Question, after an event a Change as the feed has it. Its
// signature is that of hookcaller.Sign, in the header Interrex-Signature. A status
// of 200 to 299 is yes; docs/semantics.md has the whole contract.
type Webhook struct {
	Name string      // 1 to 63 of a-z 0-9 . _ -
	URL  string      // http or https, without a user
	When WebhookWhen // empty: before
	// Kinds are the kinds of event that it is for. None: all that are sent.
	Kinds []string
	// Prefixes are those of the keys (NAMESPACE/NAME) that it is for. None: all.
	Prefixes []string
	// Headers are sent with each call. What a webhook is read as has their names
	// with empty values.
	Headers   map[string]string
	Timeout   time.Duration // of one call, 100 ms to 30 s; 0: 2 s
	OnFailure WebhookPolicy // of a hook that is asked before; empty: refuse
	DryRun    bool          // it is called and counted, and vetoes nothing
}

// WebhookRequest sets a webhook. One of that name is replaced, headers included;
// its secret stays unless Secret is set, and as long as it is called after
// events, its position too.
type WebhookRequest struct {
	Webhook
	// Secret is the key of the calls' signatures, 16 to 256 bytes of printable
	// ASCII. Empty: the hook keeps the one that it has, or gets a random one.
	Secret string
	// RequestID is the caller's own: then there is one attempt, and the caller
	// counts them. Empty: a library fills one in, and retries by itself.
	RequestID string
	Attempt   uint32
	Fence     Fence
}

// WebhookAnswer answers a WebhookRequest.
type WebhookAnswer struct {
	Webhook WebhookState
	// Secret is the one that was made for the hook. It is never shown again.
	// Empty: it has the one that was given, or that it had.
	Secret   string
	Replayed bool // an earlier attempt had done it; nothing was done again
	Revision Revision
}

// WebhookState is a webhook as it is read.
type WebhookState struct {
	Webhook
	Revision Revision // of its last set
	// Position, of one that is called after events, is the revision up to which
	// they are known to be delivered. It lags: events behind it may have been.
	Position Revision
	// SkippedFrom and SkippedTo are the revisions that were skipped last, since
	// they were no longer kept when their turn came; Skipped is how many
	// revisions that were in all. 0: none.
	SkippedFrom, SkippedTo Revision
	Skipped                uint64
	// Health is known to the agent that leads; nil elsewhere.
	Health *WebhookHealth
}

// WebhookHealth is how the calls of a webhook go, on the agent that makes them.
type WebhookHealth struct {
	// Breaker is "closed", "open" (the hook is not called, its policy answers)
	// or "half-open" (one call tries whether it works again).
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

// WebhookTest is what a webhook has answered to a sample.
type WebhookTest struct {
	Status   int           // of HTTP; 0: there was no answer
	Duration time.Duration // of the call
	Body     string        // its beginning, without control characters
	Error    string        // why there was no answer
	Agent    string        // that has called
}

// Webhooks sets and reads webhooks: the same on every agent.
type Webhooks interface {
	// Set is for operators. A 17th webhook is KindConflict.
	Set(ctx context.Context, r WebhookRequest) (WebhookAnswer, error)
	// Delete is for operators. One that does not exist is KindNotFound.
	Delete(ctx context.Context, r WebhookDeletion) (replayed bool, at Revision, err error)
	// Get returns one webhook. One that does not exist is KindNotFound.
	Get(ctx context.Context, name string, o ReadOptions) (WebhookState, Revision, error)
	// List returns all webhooks by name.
	List(ctx context.Context, o ReadOptions) ([]WebhookState, Revision, error)
	// Test sends a sample to one webhook, from the agent that is asked. It is
	// for operators, and changes nothing.
	Test(ctx context.Context, name string) (WebhookTest, error)
}
