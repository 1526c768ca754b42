package notify

import (
	"context"
	"iter"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/projection"
)

// SQLTarget is a Target over the copy of lease holders in a database.
type SQLTarget struct {
	holders *projection.Holders
	logger  interrex.Logger
}

// NewTarget returns the target that writes into holders: a claim inserts or
// updates a row, an end removes it, each only where the token allows it. It
// provides a *SQLTarget, whose NotifyTarget is bound late, to the transaction of
// one batch. With a nil logger nothing is logged; otherwise each note is logged
// with DEBUG.
func NewTarget(holders *projection.Holders, logger interrex.Logger) *SQLTarget {
	if logger == nil {
		logger = silent.Logger{}
	}
	return &SQLTarget{holders: holders, logger: logger}
}

var _ Target = (*SQLTarget)(nil)

// projection.Position implements Target.
func (t *SQLTarget) Position(ctx context.Context) (projection.Position, error) {
	return t.holders.Position(ctx)
}

// Notify implements Target.
func (t *SQLTarget) Notify(ctx context.Context, to projection.Position, tell func(NotifyTarget) error) error {
	return t.holders.Update(ctx, to, func(b *projection.Batch) error {
		return tell(sqlNotes{batch: b, logger: t.logger})
	})
}

// Replace implements Target.
func (t *SQLTarget) Replace(ctx context.Context, at projection.Position, pages iter.Seq2[[]Claimed, error]) (int, error) {
	return t.holders.Replace(ctx, at, func(yield func([]projection.Holder, error) bool) {
		for page, err := range pages {
			rows := make([]projection.Holder, len(page))
			for i, c := range page {
				rows[i] = c.row()
			}
			if !yield(rows, err) {
				return
			}
		}
	})
}

func (c Claimed) row() projection.Holder {
	return projection.Holder{
		Key: c.Key, Holder: c.Holder, Token: c.Token, TTL: c.TTL,
		AcquiredAt: c.AcquiredAt, Revision: c.Revision,
	}
}

// sqlNotes is the NotifyTarget of one transaction.
type sqlNotes struct {
	batch  *projection.Batch
	logger interrex.Logger
}

// Claimed implements NotifyTarget.
func (n sqlNotes) Claimed(c Claimed) error {
	n.logger.Debugf("%s of %s by %s, token %d", c.Kind, c.Key, c.Holder, c.Token)
	return n.batch.Claimed(c.row())
}

// Expirations implements NotifyTarget.
func (n sqlNotes) Expirations(ended []Expired) error {
	for _, e := range ended {
		n.logger.Debugf("%s was %s by %s, token %d", e.Key, e.How, e.Holder, e.Token)
		if err := n.batch.Ended(e.Key, e.Token); err != nil {
			return err
		}
	}
	return nil
}
