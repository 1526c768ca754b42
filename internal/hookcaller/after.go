package hookcaller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// document is an event as it is sent to a hook, and as the change feed shows it.
type document struct {
	Revision interrex.Revision `json:"revision,string"`
	Kind     string            `json:"kind"`
	Key      string            `json:"key"`
	Tags     []string          `json:"tags"`
	Time     time.Time         `json:"time"`
	Data     json.RawMessage   `json:"data"`
}

// changeOf returns the document of an event; data is the JSON of its value, may be nil.
func changeOf(e *state.Event, data []byte) ([]byte, error) {
	c := document{Revision: e.Revision, Kind: e.Kind, Key: e.Key, Tags: []string{}, Time: e.Wall.UTC(), Data: data}
	if u, is := e.Value.(*change.User); is {
		c.Tags = append(c.Tags, u.Tags...)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the event of revision %d: %w", e.Revision, err)
	}
	return b, nil
}

// tell delivers one event to a hook. nth counts the events of one revision from 0: the
// idempotency key is REVISION for the first event, and REVISION.NTH for the others.
func (c *Caller) tell(ctx context.Context, h *webhook.Hook, body []byte, at interrex.Revision, nth int) error {
	key := revisionText(at)
	if nth > 0 {
		key = fmt.Sprintf("%s.%d", key, nth)
	}
	a := c.post(ctx, h, body, http.Header{"Idempotency-Key": {key}})
	if ctx.Err() != nil && a.err != nil {
		return context.Cause(ctx)
	}
	problem := a.problem()
	c.note(h, problem)
	if problem != "" {
		return errors.New(problem)
	}
	return nil
}

// sample returns the body of a test call.
func (c *Caller) sample(h *webhook.Hook) []byte {
	kind, key := interrex.LeaseClaimed, "default/sample"
	if len(h.Kinds) > 0 {
		kind = h.Kinds[0]
	}
	if len(h.Prefixes) > 0 {
		key = h.Prefixes[0]
	}
	now := c.config.Clock.Now().UTC()
	var sample any = Question{
		Webhook: h.Name, Agent: c.config.Agent, Time: now,
		Operations: []Operation{{Method: "sample", Kind: kind, Key: key, Request: json.RawMessage("{}")}},
	}
	if h.When == interrex.WebhookAfter {
		sample = document{Kind: kind, Key: key, Tags: []string{}, Time: now, Data: json.RawMessage("null")}
	}
	b, _ := json.Marshal(sample) // of texts and times: it cannot fail
	return b
}
