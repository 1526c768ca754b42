package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/validation"
)

// Reader converts the fields of one message, and keeps the first error, which is of
// ErrInvalid or ErrTooLarge and names the field.
type Reader struct{ Err error }

// Fail records an error, unless there was one before.
func (r *Reader) Fail(err error) {
	if r.Err == nil && err != nil {
		r.Err = err
	}
}

// Key returns a key.
func (r *Reader) Key(s string) interrex.Key {
	k, err := interrex.ParseKey(s)
	r.Fail(err)
	return k
}

// Duration returns a duration, which may be zero; zero if it is absent.
func (r *Reader) Duration(field string, d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	v := d.AsDuration()
	switch {
	case d.CheckValid() != nil:
		r.Fail(interrex.Errorf(interrex.ErrInvalid, "%s: %v: give seconds, as in \"1.500s\"", field, d.CheckValid()))
	case v < 0:
		r.Fail(interrex.Errorf(interrex.ErrInvalid, "%s: %v is negative", field, v))
	}
	return v
}

// Positive returns a duration whose absence, zero, means the default: an explicit
// zero is an error, because it would silently become the default.
func (r *Reader) Positive(field string, d *durationpb.Duration) time.Duration {
	v := r.Duration(field, d)
	if d != nil && v == 0 {
		r.Fail(interrex.Errorf(interrex.ErrInvalid, "%s: 0s is not allowed: leave the field out for its default", field))
	}
	return v
}

// Time returns a time in UTC; the zero time if it is absent.
func (r *Reader) Time(field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if err := t.CheckValid(); err != nil {
		r.Fail(interrex.Errorf(interrex.ErrInvalid, "%s: %v: use RFC 3339", field, err))
	}
	return t.AsTime()
}

// Fence returns a fence; the zero Fence if it is absent.
func (r *Reader) Fence(m *interrexv1.Fence) interrex.Fence { return r.fence("fence", m) }

// fence returns a key with a token; the zero Fence if it is absent.
func (r *Reader) fence(field string, m *interrexv1.Fence) interrex.Fence {
	if m == nil {
		return interrex.Fence{}
	}
	k, err := interrex.ParseKey(m.Key)
	if err != nil {
		r.Fail(interrex.Errorf(interrex.ErrInvalid, "%s: %s", field, text(err)))
	}
	if m.Token == 0 {
		r.Fail(interrex.Errorf(interrex.ErrInvalid, "%s: token: 0 is not a token: give the one under which %s is held", field, m.Key))
	}
	return interrex.Fence{Key: k, Token: interrex.Token(m.Token)}
}

// Consistency returns a consistency; the default if it is absent.
func (r *Reader) Consistency(c interrexv1.Consistency) interrex.Consistency {
	switch c {
	case interrexv1.Consistency_CONSISTENCY_UNSPECIFIED:
		return interrex.Default
	case interrexv1.Consistency_CONSISTENCY_EVENTUAL:
		return interrex.Eventual
	case interrexv1.Consistency_CONSISTENCY_STRONG:
		return interrex.Strong
	}
	r.Fail(interrex.Errorf(interrex.ErrInvalid, "consistency: %d is not one of CONSISTENCY_EVENTUAL and CONSISTENCY_STRONG", c))
	return interrex.Default
}

// Namespace returns the namespace of a filter; empty for all.
func (r *Reader) Namespace(s string) string {
	if s == "" {
		return s
	}
	if err := validation.Namespace(s); err != nil {
		r.Fail(err)
	}
	return s
}
