package plainhttp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// heartbeat is how often an idle stream of events sends a comment.
const heartbeat = 15 * time.Second

// sentEvent is one server-sent event. A caller that reconnects with its id as
// Last-Event-ID has received everything up to it, unless the id is 0.
type sentEvent struct {
	id   interrex.Revision
	kind string
	data any
}

// eventSource is the source of a stream of server-sent events.
type eventSource struct {
	setting string // see Service.Setting
	since   interrex.Revision
	scope   interest.Scope // of the events that match
	match   func(*state.Event) bool
	// show returns an event that matches as it is sent; its id is set afterwards.
	show func(*state.Event) (sentEvent, error)
	// present are the events of what exists already; nil if there are none.
	present iter.Seq2[sentEvent, error]
}

// shown returns the events that match as they are sent.
func (from eventSource) shown(events []state.Event) iter.Seq2[sentEvent, error] {
	return func(yield func(sentEvent, error) bool) {
		for i := range events {
			one, err := from.show(&events[i])
			if i+1 == len(events) || events[i+1].Revision != events[i].Revision {
				one.id = events[i].Revision
			}
			if !yield(one, err) {
				return
			}
		}
	}
}

// eventWriter writes server-sent events.
type eventWriter struct {
	w       io.Writer
	account *admission.Account
	send    func(func() error) error // see admission.Sender
	flush   func() error
}

// all sends events, each as soon as it is available.
func (o eventWriter) all(ctx context.Context, events iter.Seq2[sentEvent, error]) error {
	for one, err := range events {
		if ctx.Err() != nil {
			if cause := context.Cause(ctx); interrex.KindOf(cause) != "" {
				o.end(cause)
			}
			return ctx.Err()
		}
		if err != nil {
			o.end(err)
			return err
		}
		if err := o.one(ctx, one); err != nil {
			return err
		}
	}
	return o.flushed()
}

// one sends one event once there is memory for its text.
func (o eventWriter) one(ctx context.Context, e sentEvent) error {
	head, err := e.head()
	if err != nil {
		return err
	}
	if err := o.account.Wait(ctx, cap(head), admission.ShareFor(cap(head))); err != nil {
		o.end(err)
		return err
	}
	defer o.account.Give(cap(head))
	return o.send(func() error { return e.write(o.w, head) })
}

// end sends an event with the reason why the stream ends.
func (o eventWriter) end(err error) {
	last := sentEvent{kind: endKind(err), data: shownError(wire.FromDetail(wire.Detail(err)))}
	head, err := last.head()
	if err == nil {
		_ = o.send(func() error { return errors.Join(last.write(o.w, head), o.flush()) }) // the caller may have gone
	}
}

// beat sends a comment to show that the stream is alive, with its revision if that
// has advanced without an event.
func (o eventWriter) beat(at interrex.Revision, further bool) error {
	text := ": nothing\n\n"
	if further {
		text = fmt.Sprintf(": nothing\nid: %d\n\n", at)
	}
	return o.send(func() error {
		_, err := io.WriteString(o.w, text)
		return errors.Join(err, o.flush())
	})
}

func (o eventWriter) flushed() error { return o.send(o.flush) }

// endKind returns the name of the event that ends a stream.
func endKind(err error) string {
	return strings.ReplaceAll(string(cmp.Or(interrex.KindOf(err), interrex.ErrUnavailable)), " ", "_")
}

// head returns the text of an event, without data that writes itself.
func (e sentEvent) head() ([]byte, error) {
	var head bytes.Buffer
	if e.id > 0 {
		fmt.Fprintf(&head, "id: %d\n", e.id)
	}
	fmt.Fprintf(&head, "event: %s\ndata: ", e.kind)
	if _, writes := e.data.(selfWriter); writes {
		return head.Bytes(), nil
	}
	text, err := oneLine(e.data)
	head.Write(text)
	return head.Bytes(), err
}

// selfWriter is data that writes itself, without a copy.
type selfWriter interface{ write(io.Writer) error }

// write writes one event, which begins with head.
func (e sentEvent) write(w io.Writer, head []byte) error {
	_, err := w.Write(head)
	if own, writes := e.data.(selfWriter); writes && err == nil {
		err = own.write(w)
	}
	if err == nil {
		_, err = io.WriteString(w, "\n\n")
	}
	return err
}
