package joining

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/wording"
)

// Config is the configuration of a Join.
type Config struct {
	ID        string
	Token     jointoken.Token
	Addresses []string // cluster addresses of any members, host:port
	// Key and CSR are the agent's key, and its certificate request for it, in DER.
	Key *ecdsa.PrivateKey
	CSR []byte
	// Former is the key for which this ID had its certificate before; nil: none.
	Former *ecdsa.PrivateKey
	// Forwards is whether the agent is to run without raft.
	Forwards bool
	// Held is set aside if the agent is let in; nil: its directory is new.
	Held *Held
	// Incarnation is that of its directory.
	Incarnation string
	Clock       clock.Clock
	Logger      interrex.Logger
}

// Pause returns the pause after a number of rounds over all addresses.
func Pause(rounds int) time.Duration {
	return backoff.Next(500*time.Millisecond, 5*time.Second, rounds-1)
}

// Try asks each member once, and those that they name.
func Try(ctx context.Context, c Config) (*Grant, error) {
	grant, failed := c.round(ctx)
	if grant != nil {
		return grant, nil
	}
	return nil, errors.Join(failed...)
}

// Join asks all members in turn until one grants it, all refuse it for good, or ctx
// ends.
func Join(ctx context.Context, c Config) (*Grant, error) {
	for n := 1; ; n++ {
		grant, failed := c.round(ctx)
		if grant != nil {
			return grant, nil
		}
		err := errors.Join(failed...)
		final := func(err error) bool { return isFinal(err, n) }
		if len(failed) > 0 && !slices.ContainsFunc(failed, func(err error) bool { return !final(err) }) || ctx.Err() != nil {
			return nil, err
		}
		wait := Pause(n)
		c.Logger.Infof("%v; asking again in %s", err, wording.Rounded(wait.Round(time.Millisecond)))
		if !backoff.Pause(ctx, c.Clock.After(wait)) {
			return nil, err
		}
	}
}

// lagging is the number of rounds for which a member that does not know the token may
// just be behind.
const lagging = 4

// isFinal reports whether asking again is of no use.
func isFinal(err error, round int) bool {
	switch kind := interrex.KindOf(err); kind {
	case "", interrex.ErrOutcomeUnknown:
		return false
	case interrex.ErrNotFound:
		return round >= lagging
	default:
		return !kind.Retryable()
	}
}

// round asks each address once, and those that they name.
func (c Config) round(ctx context.Context) (_ *Grant, failed []error) {
	asked := map[string]bool{}
	addresses := slices.Clone(c.Addresses)
	for len(addresses) > 0 && ctx.Err() == nil && len(asked) < maxAsked {
		address := addresses[0]
		addresses = addresses[1:]
		if asked[address] {
			continue
		}
		asked[address] = true
		a, err := c.ask(ctx, address)
		switch {
		case err != nil:
			failed = append(failed, fmt.Errorf("cannot join at %s: %w", address, err))
		case a.Grant != nil:
			return a.Grant, nil
		default:
			addresses = append(addresses, a.Elsewhere...)
		}
	}
	if len(failed) == 0 {
		failed = append(failed, errors.New("cannot join: no member that was asked can issue certificates"))
	}
	return nil, failed
}

// maxAsked bounds how many addresses are asked in one round.
const maxAsked = 32

// ask makes one exchange.
func (c Config) ask(ctx context.Context, address string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	conn, err := c.dial(ctx, address)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	q, err := c.sign(conn)
	if err != nil {
		return answer{}, err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://interrex"+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	post.Header.Set("Content-Type", "application/json")
	// Over this connection only: what was signed is of no use in another.
	used := false
	t := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("the connection was lost")
		}
		used = true
		return conn, nil
	}}
	defer t.CloseIdleConnections()
	response, err := t.RoundTrip(post)
	if err != nil {
		return answer{}, interrex.Errorf(interrex.ErrUnavailable, "the exchange was cut: %v", err)
	}
	defer response.Body.Close()
	return c.read(response)
}

// dial connects to a member of the cluster that the token is for.
func (c Config) dial(ctx context.Context, address string) (*tls.Conn, error) {
	d := &tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol}, ServerName: "interrex",
		InsecureSkipVerify: true, // VerifyConnection does it, by the pin
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := authority.VerifyPinned(s.PeerCertificates, c.Token.Pin, c.Clock.Now())
			switch {
			case errors.Is(err, authority.ErrNotYet):
				return interrex.Errorf(interrex.ErrUnavailable, "%v", err)
			case err != nil:
				return interrex.Errorf(interrex.ErrUnauthenticated, "%v", err)
			}
			return nil
		},
	}}
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, explain(err)
	}
	conn := raw.(*tls.Conn) // a tls.Dialer returns no other
	if conn.ConnectionState().NegotiatedProtocol != Protocol {
		_ = conn.Close()
		return nil, errors.New("it does not let agents join: is it the cluster address of an agent?")
	}
	return conn, nil
}

// explain says what an error of a handshake means.
func explain(err error) error {
	var record tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &record):
		return fmt.Errorf("it does not use TLS: is it the cluster address of an agent, and not its API's? (%w)", err)
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("it does not let agents join: is it the cluster address of an agent? (%w)", err)
	}
	return err
}

// sign makes the request for one session.
func (c Config) sign(conn *tls.Conn) (*request, error) {
	state := conn.ConnectionState()
	s, err := session(&state)
	if err != nil {
		return nil, err
	}
	q := &request{ID: c.ID, Token: c.Token.ID(), CSR: c.CSR, Signature: c.Token.Sign(s, c.CSR), Forwards: c.Forwards, Held: c.Held, Incarnation: c.Incarnation}
	if c.Former == nil {
		return q, nil
	}
	digest := sha256.Sum256(jointoken.Statement(s, sha256.Sum256(c.CSR)))
	q.Former, err = ecdsa.SignASN1(rand.Reader, c.Former, digest[:])
	return q, err
}

// read reads an answer. A grant is checked: it must be for this agent's key.
func (c Config) read(response *http.Response) (answer, error) {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return answer{}, interrex.Errorf(interrex.ErrUnavailable, "the answer was cut: %v", err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return answer{}, fmt.Errorf("the answer, with status %d, cannot be read: %w", response.StatusCode, err)
	}
	if err := a.refusal(); err != nil {
		return answer{}, err
	}
	if a.Grant == nil {
		if len(a.Elsewhere) == 0 {
			return answer{}, errors.New("the answer is empty")
		}
		return a, nil
	}
	return a, c.verify(a.Grant)
}

// verify checks that a grant is what was asked for.
func (c Config) verify(g *Grant) error {
	cert, err := x509.ParseCertificate(g.Certificate)
	if err != nil {
		return fmt.Errorf("the certificate that was issued cannot be read: %w", err)
	}
	chain := []*x509.Certificate{cert}
	for _, der := range g.Authorities {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("the CA's certificate cannot be read: %w", err)
		}
		chain = append(chain, ca)
	}
	if _, err := authority.VerifyPinned(chain, c.Token.Pin, c.Clock.Now()); err != nil {
		return fmt.Errorf("the certificate that was issued: %w", err)
	}
	if !c.Key.PublicKey.Equal(cert.PublicKey) {
		return errors.New("the certificate that was issued is for another key")
	}
	return nil
}
