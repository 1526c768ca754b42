package enrolment

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/joining"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/wording"
)

// tryTimeout bounds one try; the next one follows.
const tryTimeout = 2 * time.Minute

// WorkerConfig is the configuration of a Worker.
type WorkerConfig struct {
	Dir *datadir.Dir
	// Configuration returns the agent's, as it is now: see config.Cluster.Enrols.
	Configuration func() config.Config
	Clock         clock.Clock
	Logger        interrex.Logger
}

// Worker gets the certificate of an agent that is configured to do so by itself. It
// tries until it has it, and then ends with dependency.ErrBounce.
type Worker struct {
	*unit.Loop
	config WorkerConfig
	since  time.Time

	mu    sync.Mutex
	tries int
	last  error // of the last try; nil: there was none
}

// NewWorker starts a Worker. The directory must be one in which no cluster counts on
// anything: see CheckDir.
func NewWorker(c WorkerConfig) *Worker {
	w := &Worker{config: c, since: c.Clock.Now()}
	w.Loop = unit.Run(w.run)
	return w
}

// CheckDir returns why an agent must not get a certificate with which it joins or founds
// a cluster: its directory has the log of another.
func CheckDir(is datadir.Identity) error {
	if is.ClusterID == "" {
		return nil
	}
	return interrex.Errorf(interrex.ErrConflict, "agent %s has the data of the cluster %s, and only an agent with an empty log joins or founds another: "+
		"to bring its data along, let the other agents join this one, with empty directories; "+
		"to give its data up, stop it, move its data directory away, and start it again; to go on as before, take cluster.join-token-file and cluster.ca-key-file out of its configuration", is.ID, is.ClusterID)
}

func (w *Worker) run(ctx context.Context) error {
	w.config.Logger.Infof("%s", w.Waits())
	for n := 1; ; n++ {
		err := w.try(ctx)
		if err == nil {
			w.config.Logger.Infof("the agent has its certificate")
			return dependency.ErrBounce // the agent goes on with what it has now
		}
		if ctx.Err() != nil {
			return nil
		}
		w.note(n, err)
		w.config.Logger.Warningf("%s", w.Waits())
		if !backoff.Pause(ctx, w.config.Clock.After(joining.Pause(n))) {
			return nil
		}
	}
}

func (w *Worker) note(n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries, w.last = n, err
}

// Waits says in words what the agent waits for, and why the last try failed.
func (w *Worker) Waits() string {
	c := w.config.Configuration().Cluster
	text := "waiting for the key of the cluster's CA in " + c.CAKeyFile
	if c.JoinTokenFile != "" {
		text = fmt.Sprintf("waiting to be let in by %s, with the join token in %s", strings.Join(c.Join, ", "), c.JoinTokenFile)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last != nil {
		text += ": " + strings.ReplaceAll(w.last.Error(), "\n", "; ")
	}
	return text
}

// Since returns since when.
func (w *Worker) Since() time.Time { return w.since }

// Report implements dependency.Reporter.
func (w *Worker) Report() map[string]any {
	waits := w.Waits()
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]any{
		"waits": waits, "tries": w.tries,
		"since": w.since.UTC().Format(time.RFC3339), "for": wording.Rounded(w.config.Clock.Now().Sub(w.since)),
	}
}

// try makes one attempt.
func (w *Worker) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	c := w.config.Configuration()
	if !c.Cluster.Enrols() {
		return nil // no longer
	}
	a := configured(c)
	a.DataDir, a.ID = w.config.Dir.Path, w.config.Dir.ID
	if c.Cluster.JoinTokenFile != "" {
		return w.join(ctx, a, c.Cluster)
	}
	return w.issue(a, c.Cluster)
}

// join asks members for a certificate. That there is one is noted last: a join that is
// cut before is made again, with the same key, and counts as one use of the token.
func (w *Worker) join(ctx context.Context, a Agent, c config.Cluster) error {
	text, err := disk.ReadSmall(c.JoinTokenFile)
	if err != nil {
		return fmt.Errorf("cannot read the join token: %w", err)
	}
	token, err := jointoken.Parse(string(text))
	if err != nil {
		return err
	}
	key, csr, err := a.request()
	if err != nil {
		return err
	}
	grant, err := joining.Try(ctx, joining.Config{
		ID: a.ID, Token: token, Addresses: c.Join, Key: key, CSR: csr, Forwards: a.Forwards, Incarnation: w.config.Dir.Incarnation, Clock: w.config.Clock, Logger: w.config.Logger,
	})
	if err != nil {
		return err
	}
	if err := w.config.Dir.NoteJoins(grant.ClusterID); err != nil {
		return err
	}
	return authority.SaveAgent(a.DataDir, key, grant.Certificate, grant.Authorities)
}

// issue makes the certificate with the key of the cluster's CA, which the agents that
// found the cluster share.
func (w *Worker) issue(a Agent, c config.Cluster) error {
	text, err := disk.ReadSmall(c.CAKeyFile)
	if err != nil {
		return fmt.Errorf("cannot read the key of the cluster's CA: %w", err)
	}
	ca, err := authority.OfKey(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.CAKeyFile, err)
	}
	key, raw, err := a.request()
	if err != nil {
		return err
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		return err
	}
	cert, err := ca.Issue(request, a.ID, w.config.Clock.Now())
	if err != nil {
		return err
	}
	if err := ca.SaveKey(a.DataDir); err != nil {
		return err
	}
	if err := (membership.Charter{CA: ca.Cert()}).Save(a.DataDir); err != nil {
		return err
	}
	return authority.SaveAgent(a.DataDir, key, cert, [][]byte{ca.Cert()})
}
