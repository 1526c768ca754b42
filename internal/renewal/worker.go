package renewal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/wording"
)

const (
	// every is the pause between two looks, and firstPause and maxPause are those after
	// failures.
	every      = time.Second
	firstPause = 5 * time.Second
	maxPause   = 10 * time.Minute
	// timeout bounds one renewal.
	timeout = time.Minute
)

// Config is the configuration of a Worker.
type Config struct {
	ID, Dir string // of this agent
	// Return says how the agent gets another certificate when its own has ended.
	Return string
	// Certificate returns the certificate in use.
	Certificate func() (*tls.Certificate, error)
	// Member reports whether this agent is a member of a cluster with a CA of its own:
	// else nothing is renewed. It must not block.
	Member func() bool
	// Wanted reports whether the cluster was asked to have a certificate renewed now. It
	// must not block.
	Wanted func(present *x509.Certificate) bool
	// Names returns the names that the certificate should have besides the agent's ID. It
	// must not block.
	Names func() []string
	// Trusted are the CAs that the cluster trusts, in DER, and Gone reports whether it
	// forgot the one with a pin. They must not block.
	Trusted func() [][]byte
	Gone    func(pin jointoken.Pin) bool
	// Ask gets a certificate from an agent that has the CA's key, within ctx.
	Ask func(ctx context.Context, q *Request) (*Grant, error)
	// Changed is called when the files were replaced. It must not block.
	Changed func()
	Clock   clock.Clock
	Logger  interrex.Logger
}

// Worker renews this agent's certificate, at about two thirds of its life, when the
// cluster was asked to have it renewed, and when it lacks a name; and it makes the agent trust the CAs that the
// cluster trusts.
type Worker struct {
	catacomb catacomb.Catacomb
	config   Config
	part     float64 // of the life, after which it is renewed

	mu     sync.Mutex
	due    time.Time
	failed string // why the last renewal failed; empty: it did not
}

// NewWorker starts a Worker.
func NewWorker(c Config) (*Worker, error) {
	// A little earlier than two thirds: the agents of a cluster, made together, do not
	// all ask at once.
	w := &Worker{config: c, part: 2.0/3 - 0.05*rand.Float64()}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot start to renew the certificate: %w", err)
	}
	return w, nil
}

// Kill is part of worker.Worker.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait is part of worker.Worker.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Report is part of worker.Reporter.
func (w *Worker) Report() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := map[string]any{}
	if !w.due.IsZero() {
		r["renewal"] = w.due.UTC().Format(time.RFC3339)
	}
	if w.failed != "" {
		r["last-error"] = w.failed
	}
	return r
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	for failures := 0; ; {
		pause := every
		if err := w.look(ctx); err != nil {
			pause = backoff.Next(firstPause, maxPause, failures)
			failures++
			w.config.Logger.Warningf("cannot keep this agent's certificate up to date: %v; trying again in %s", err, wording.Rounded(pause.Round(time.Second)))
		} else {
			failures = 0
		}
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-w.config.Clock.After(pause):
		}
	}
}

// look renews the certificate if it is time.
func (w *Worker) look(ctx context.Context) error {
	err := w.trust()
	due, failed := w.isDue()
	if failed == nil && due {
		failed = w.renew(ctx)
	}
	err = errors.Join(err, failed)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed = ""; err != nil {
		w.failed = err.Error()
	}
	return err
}

// trust makes the agent trust the CAs that the cluster trusts, and no former one.
func (w *Worker) trust() error {
	trusted := w.config.Trusted()
	if len(trusted) == 0 {
		return nil
	}
	own, err := w.config.Certificate()
	if err != nil {
		return err
	}
	changed, err := authority.Trust(w.config.Dir, trusted, w.config.Gone, own.Leaf)
	if err == nil && changed {
		w.config.Logger.Infof("this agent trusts %s", wording.Count(len(trusted), "CA"))
		w.config.Changed()
	}
	return err
}

// renew renews the certificate. Nobody accepts one that has ended: then only this
// agent can issue another.
func (w *Worker) renew(ctx context.Context) error {
	cert, err := w.config.Certificate()
	if err != nil {
		return err
	}
	if now := w.config.Clock.Now(); now.After(cert.Leaf.NotAfter) {
		done, err := authority.Reissue(w.config.Dir, w.config.ID, now)
		if err == nil && !done {
			err = fmt.Errorf("it ended at %s: %s", cert.Leaf.NotAfter.UTC().Format(time.RFC3339), w.config.Return)
		}
		if err != nil {
			return err
		}
	} else {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := w.config.renew(ctx); err != nil {
			return err
		}
	}
	w.config.Logger.Infof("renewed this agent's certificate")
	w.config.Changed()
	return nil
}

// isDue reports whether the certificate is to be renewed now. A renewal that was cut
// is continued.
func (w *Worker) isDue() (bool, error) {
	cert, err := w.config.Certificate()
	if err != nil {
		return false, err
	}
	if ended := w.config.Clock.Now().After(cert.Leaf.NotAfter); ended || !w.config.Member() {
		return ended, nil // an agent that none accepts may not know its cluster's state
	}
	at := cert.Leaf.NotBefore.Add(time.Duration(w.part * float64(cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore))))
	w.mu.Lock()
	w.due = at
	w.mu.Unlock()
	if !w.config.Clock.Now().Before(at) || w.config.Wanted(cert.Leaf) || !authority.HasNames(cert.Leaf, w.config.Names()) {
		return true, nil
	}
	left, err := authority.ReadRenewal(w.config.Dir)
	return left != nil, err
}
