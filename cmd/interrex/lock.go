package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/execution"
	"github.com/interrex/interrex/internal/hold"
)

// The exit codes of lock that are not the command's own.
const (
	exitLost      = 120
	exitWaitedOut = 124
	exitOurs      = 125
	exitCannotRun = 126
	exitNotFound  = 127
)

// longestWait is the longest --wait of lock, a year; without --wait it has no limit.
const longestWait = 365 * 24 * time.Hour

// The bounds of a lock's claim: tryTime bounds a claim that does not wait,
// answerTime is how long after the wait the answer may arrive.
const (
	tryTime    = 800 * time.Millisecond
	answerTime = 400 * time.Millisecond
)

// errWaitedOut ends a claim whose answer does not arrive.
var errWaitedOut = errors.New("no response by the end of the wait")

// lock is one `interrex lock`.
type lock struct {
	app     *app
	key     interrex.Key
	ttl     time.Duration
	wait    time.Duration // below 0: without limit
	restart bool
	leave   string // --leftover
	command []string

	holder  string // of the newest claim
	signals chan os.Signal
}

// leftovers are the values of --leftover.
var leftovers = []string{string(execution.Wait), string(execution.Kill), string(execution.Leave)}

// lockLong is the help of lock.
const lockLong = `Runs COMMAND while it holds the lease, with INTERREX_LEASE_KEY and
INTERREX_LEASE_TOKEN set. When the lease is lost, or cannot be extended in
time, COMMAND's process group gets SIGTERM at the margin and SIGKILL half a
margin later, also if lock itself is killed, or stopped until then.
INT, TERM, HUP and QUIT are passed on; COMMAND ignores those that were ignored
when lock was started, for example by nohup. The lease is released when COMMAND
has ended, and by default also every process that it started: a process that is
left behind may still be writing, and should not be cut off, nor should anyone
else hold the lease until it has ended. --leftover kill ends such processes
instead (SIGTERM, and SIGKILL half a margin later); --leftover leave releases the
lease at once.

Each lock is a holder with a name of its own: a token whose rule ends with :own cannot
be used.

The exit code is COMMAND's own; 120 if the lease was lost and COMMAND was ended;
124 if the wait timed out, also with --wait 0s, and also because no agent or
leader responded; 125 if interrex itself failed; 126 or 127 if COMMAND cannot be
run or found; 2 if an argument, a flag or the environment is not valid.`

func newLock(a *app) *cobra.Command {
	l := &lock{app: a, ttl: interrex.DefaultTTL}
	c := &cobra.Command{
		Use:   "lock KEY -- COMMAND [ARG ...]",
		Short: "Run a command while a lease is held",
		Example: `  interrex lock nightly -- ./backup.sh
  interrex lock nightly --wait 0s -- ./backup.sh       only if nobody else does
  interrex lock web/leader --restart -- ./serve        again each time it wins`,
		Long: lockLong,
		Args: func(c *cobra.Command, args []string) error {
			if wrong := wrongLine(args, c.ArgsLenAtDash()); wrong != "" {
				return usageError{fmt.Errorf("lock takes KEY -- COMMAND [ARG ...]: %s: see 'interrex lock --help'", wrong)}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			if l.key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if err := oneOf("--leftover", l.leave, leftovers); err != nil {
				return err
			}
			if !c.Flags().Changed("wait") {
				l.wait = -1
			}
			l.command = args[1:]
			return l.run()
		},
	}
	ttlFlag(c, &l.ttl, "")
	c.Flags().Var(&duration{to: &l.wait, most: longestWait}, "wait", "give up after this time, regardless of --timeout; 0s tries once (default: wait without limit)")
	c.Flags().StringVar(&l.leave, "leftover", string(execution.Wait), "what to do with processes that COMMAND leaves running: wait, kill or leave")
	fixedFlag(c, "leftover", leftovers...)
	c.Flags().BoolVar(&l.restart, "restart", false, "campaign again after a loss, and run COMMAND again each time it wins")
	return c
}

// wrongLine says what is wrong with lock's arguments, of which the first keys are
// before the --; below 0 if there is no --.
func wrongLine(args []string, keys int) string {
	switch {
	case len(args) == 0 || keys == 0:
		return "KEY is missing"
	case len(args) == 1:
		return "COMMAND is missing"
	case keys < 0:
		return "-- is missing before COMMAND"
	case keys > 1:
		return fmt.Sprintf("%q is before the --, where only KEY belongs", args[1])
	}
	return ""
}

// run holds the lease and runs the command. Signals are passed on to the command
// rather than ending lock.
func (l *lock) run() error {
	path, err := exec.LookPath(l.command[0])
	if err != nil {
		return l.cannotRun(err)
	}
	l.signals = make(chan os.Signal, 16)
	execution.Notify(l.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(l.signals)
	claims := *l.app
	if l.wait == 0 {
		claims.timeout = min(claims.timeout, tryTime)
	}
	return l.ended(claims.withLong(context.Background(), func(s session) error {
		for {
			told, err := l.once(s, path)
			if !l.restart || told || err != exit(exitLost) {
				return err
			}
		}
	}))
}

// cannotRun distinguishes a command that was not found from one that cannot be run.
func (l *lock) cannotRun(err error) error {
	l.app.say("interrex: cannot run the command: %v", err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exit(exitNotFound)
	}
	return exit(exitCannotRun)
}

// ended turns an error into one of lock's own exit codes.
func (l *lock) ended(err error) error {
	var code exit
	switch {
	case err == nil, errors.Is(err, interrex.ErrInvalid):
		return err
	case errors.As(err, &code):
		return code
	}
	l.app.say("interrex: %v", err)
	kind := interrex.KindOf(err)
	if kind == interrex.ErrOutcomeUnknown {
		l.app.say("interrex: 'interrex lease get %[1]s' shows the holder; if that is %[2]s, 'interrex lease revoke %[1]s --force' ends it", l.key, l.holder)
	}
	if kind == interrex.ErrHeld || l.wait >= 0 && (kind.Retryable() || kind == interrex.ErrOutcomeUnknown) {
		return exit(exitWaitedOut)
	}
	return exit(exitOurs)
}

// once waits for the lease, runs the command, and releases. It reports whether a
// signal told the command to end. An exit is the command's code, or that of the
// loss.
func (l *lock) once(s session, path string) (told bool, err error) {
	r, err := execution.Start()
	if err != nil {
		return false, err
	}
	defer r.Close()
	held, err := l.acquire(s)
	if err != nil {
		return false, err
	}
	told, err = l.execute(path, held, r)
	r.Close()
	l.release(held)
	return told, err
}

func (l *lock) execute(path string, held interrex.Held, r *execution.Reaper) (told bool, err error) {
	result, err := r.Run(execution.Command{
		Path: path, Args: l.command,
		Env:  append(os.Environ(), "INTERREX_LEASE_KEY="+held.Key().String(), "INTERREX_LEASE_TOKEN="+held.Token().String()),
		Held: held, TTL: l.ttl, Leftover: execution.Leftover(l.leave), Signals: l.signals,
		Say: func(format string, args ...any) { l.app.say("interrex: "+format, args...) },
	})
	var cannot execution.StartError
	switch {
	case errors.Is(err, execution.ErrLost):
		return false, l.lost(held, "not started")
	case errors.As(err, &cannot):
		return false, l.cannotRun(cannot)
	case err != nil:
		return false, err
	case result.Lost:
		return result.Told, l.lost(held, "ended")
	case result.Code != 0:
		return result.Told, exit(result.Code)
	}
	return result.Told, nil
}

// lost says why the lease was lost, and what was done to the command.
func (l *lock) lost(held interrex.Held, command string) error {
	err := held.Check()
	if err == nil {
		err = errors.New("lock was stopped until its deadline had passed")
	}
	l.app.say("interrex: the lease %s was lost, and the command was %s: %v", l.key, command, err)
	return exit(exitLost)
}

// release releases the lease. For a lease that was lost it is harmless.
func (l *lock) release(held interrex.Held) {
	ctx, cancel := context.WithTimeout(context.Background(), l.app.timeout)
	defer cancel()
	lost := interrex.KindOf(context.Cause(held.Context())) != ""
	if err := held.Release(ctx); err != nil && !lost {
		l.app.say("interrex: cannot release %s, it will expire: %v", l.key, err)
	}
}

// acquire waits for the lease; a signal ends the wait. The hold lives until it
// is released.
func (l *lock) acquire(s session) (interrex.Held, error) {
	l.holder = holderOfLock()
	ctx, cancel := context.WithCancelCause(context.Background())
	type result struct {
		held interrex.Held
		err  error
	}
	won := make(chan result, 1)
	go func() {
		held, err := s.leases.Hold(ctx, l.key.String(), interrex.HoldOptions{TTL: l.ttl, Wait: l.wait, Holder: l.holder})
		won <- result{held, err}
	}()
	defer s.sayWaiting(ctx, probeLease(l.key))()
	var late <-chan time.Time
	if l.wait > 0 {
		late = time.After(l.wait + answerTime)
	}
	select {
	case r := <-won:
		if r.err != nil {
			cancel(nil)
			return nil, r.err
		}
		context.AfterFunc(r.held.Context(), func() { cancel(nil) })
		return r.held, nil
	case <-late:
		cancel(errWaitedOut)
	case sig := <-l.signals:
		cancel(interrupt(sig.(syscall.Signal)))
	}
	r := <-won
	if r.held != nil { // won just now
		l.release(r.held)
		r.err = interrex.Errorf(interrex.ErrHeld, "cannot hold %s: %v", l.key, context.Cause(ctx))
	}
	return nil, l.app.interrupted(ctx, r.err)
}

// holderOfLock returns a name with a random part, so that two locks with the same
// $INTERREX_HOLDER exclude each other.
func holderOfLock() string {
	name := hold.DefaultHolder()
	if os.Getenv(hold.HolderVariable) != "" {
		name += "/" + rand.Text()[:8]
	}
	return name
}
