package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/juju/worker/v3/dependency"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/lives"
)

// The keys of a worker's report that are not the engine's own.
const (
	KeyOff    = "off"    // []string: the settings of the features that are off
	KeyOffers = "offers" // []string: the inputs that are slots it fills
	KeyUses   = "uses"   // []string: the inputs that are slots others fill
)

// KeyDrain is what the API's worker waits for while the agent drains.
const KeyDrain = "drain-waits-for"

// reporter requests the engine's report, one request at a time: an engine that does
// not respond blocks one goroutine, not one for each caller.
type reporter struct {
	engine Engine

	mu      sync.Mutex
	pending *reporting
}

// reporting is one request to the engine.
type reporting struct {
	done   chan struct{}
	report map[string]any
}

// get returns a report that was requested after the previous one was returned.
func (r *reporter) get(ctx context.Context) (map[string]any, error) {
	r.mu.Lock()
	p := r.pending
	if p == nil {
		p = &reporting{done: make(chan struct{})}
		r.pending = p
		go r.ask(p)
	}
	r.mu.Unlock()
	select {
	case <-p.done:
		return p.report, nil
	case <-ctx.Done():
		return nil, interrex.Errorf(interrex.ErrTimeout, "cannot get the engine's report: %v", context.Cause(ctx))
	}
}

func (r *reporter) ask(p *reporting) {
	p.report = r.engine.Report()
	r.mu.Lock()
	r.pending = nil
	r.mu.Unlock()
	close(p.done)
}

// engineReport returns the message of a dependency engine's report.
func engineReport(report map[string]any) *interrexv1.ReportResponse {
	m := &interrexv1.ReportResponse{
		State: text(report[dependency.KeyState]),
		Error: text(report[dependency.KeyError]),
	}
	workers, _ := report[dependency.KeyManifolds].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		w, _ := workers[name].(map[string]any)
		m.Workers = append(m.Workers, workerReport(name, w))
	}
	return m
}

func workerReport(name string, w map[string]any) *interrexv1.Worker {
	m := &interrexv1.Worker{
		Name:  name,
		State: text(w[dependency.KeyState]),
		Error: text(w[dependency.KeyError]),
	}
	m.Inputs, _ = w[dependency.KeyInputs].([]string)
	m.Offers, _ = w[KeyOffers].([]string)
	m.Uses, _ = w[KeyUses].([]string)
	if starts, is := w[dependency.KeyStartCount].(int); is {
		m.Starts = uint32(max(starts, 0))
	}
	if at, err := time.ParseInLocation("2006-01-02 15:04:05", text(w[dependency.KeyLastStart]), time.Local); err == nil {
		m.StartedAt = timestamppb.New(at)
	}
	if failures, is := w[lives.KeyFailures].(int); is {
		m.Failures = uint32(max(failures, 0))
	}
	if next, is := w[lives.KeyNextStart].(time.Time); is {
		m.NextStartAt = timestamppb.New(next)
	}
	if own, is := w[dependency.KeyReport].(map[string]any); is {
		m.Report = asStruct(own)
	}
	return m
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// asStruct converts a worker's report to a Struct: values that JSON does not have
// become text.
func asStruct(report map[string]any) *structpb.Struct {
	plain := make(map[string]any, len(report))
	for k, v := range report {
		plain[k] = asJSON(v)
	}
	m, err := structpb.NewStruct(plain)
	if err != nil {
		m, _ = structpb.NewStruct(map[string]any{"error": err.Error()})
	}
	return m
}

func asJSON(v any) any {
	switch v := v.(type) {
	case error:
		return v.Error()
	case fmt.Stringer: // mostly durations and times
		return v.String()
	case map[string]any:
		plain := make(map[string]any, len(v))
		for k, item := range v {
			plain[k] = asJSON(item)
		}
		return plain
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text(v)
	}
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		return text(v)
	}
	return plain
}
