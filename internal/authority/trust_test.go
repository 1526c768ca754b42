package authority

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/jointoken"
)

func none(jointoken.Pin) bool { return false }

func of(cas ...*Authority) func(jointoken.Pin) bool {
	return func(pin jointoken.Pin) bool {
		return slices.ContainsFunc(cas, func(a *Authority) bool { return a.Pin() == pin })
	}
}

func TestWhatIsTrustedFollowsTheCluster(t *testing.T) {
	old, next, third, operators := newAuthority(t), newAuthority(t), newAuthority(t), newAuthority(t)
	dir := agentDir(t, old, time.Now())
	own, _ := issue(t, old, "n1")
	has := func(when string, want ...*Authority) {
		t.Helper()
		all, err := ReadTrust(dir)
		if err != nil || len(all) != len(want) {
			t.Fatalf("%s: %d CAs, %v", when, len(all), err)
		}
		for i, a := range want {
			if !bytes.Equal(all[i].Raw, a.Cert()) {
				t.Errorf("%s: CA %d is another one", when, i)
			}
		}
	}
	trust := func(gone func(jointoken.Pin) bool, changes bool, cas ...*Authority) {
		t.Helper()
		var trusted [][]byte
		for _, a := range cas {
			trusted = append(trusted, a.Cert())
		}
		if changed, err := Trust(dir, trusted, gone, own); err != nil || changed != changes {
			t.Errorf("changed: %v, %v", changed, err)
		}
	}
	trust(none, false, old)
	trust(none, true, old, next)
	has("both", old, next)
	if err := saveTrust(dir, [][]byte{old.Cert(), next.Cert(), operators.Cert()}); err != nil {
		t.Fatal(err)
	}
	trust(none, false, old, next)
	trust(of(next), true, old, third)
	has("the next one was replaced", old, third, operators)
	// An agent that lags behind the log does not lose what others know already.
	trust(none, false, old)
	trust(of(old, next), true, third)
	has("its own certificate is of the former CA", third, old, operators)
	own, _ = issue(t, third, "n1")
	trust(of(old, next), true, third)
	has("renewed", third, operators)
}

func TestADirectoryKeepsTheKeysOfBothCAs(t *testing.T) {
	dir := t.TempDir()
	if pins, err := Pins(dir); err != nil || len(pins) != 0 {
		t.Errorf("an empty directory: %v, %v", pins, err)
	}
	cas := []*Authority{newAuthority(t), newAuthority(t), newAuthority(t), newAuthority(t), newAuthority(t), newAuthority(t)}
	has := func(when string, want ...*Authority) {
		t.Helper()
		pins, err := Pins(dir)
		if err != nil || len(pins) != len(want) {
			t.Fatalf("%s: %v, %v", when, pins, err)
		}
		for i, a := range want {
			if pins[i] != a.Pin() {
				t.Errorf("%s: key %d is another one", when, i)
			}
		}
	}
	add := func(a *Authority, spent func(jointoken.Pin) bool) {
		t.Helper()
		if err := AddKey(dir, a, spent, of(cas[1])); err != nil {
			t.Fatal(err)
		}
	}
	add(cas[0], none)
	add(cas[1], none)
	add(cas[1], none)
	has("two", cas[0], cas[1])
	if info, err := os.Stat(filepath.Join(dir, KeyName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, a := range cas[:2] {
		if loaded, err := LoadOf(dir, a.Cert()); err != nil || loaded.Pin() != a.Pin() {
			t.Errorf("%v", err)
		}
	}
	if _, err := LoadOf(dir, cas[2].Cert()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a CA whose key is elsewhere: %v", err)
	}
	for _, a := range cas[2:] {
		add(a, none)
	}
	has("only so many, the one that is wanted among them", cas[1], cas[3], cas[4], cas[5])
	add(cas[0], of(cas[3], cas[4], cas[5]))
	has("the spent ones are gone", cas[1], cas[0])
	if dropped, err := DropKeys(dir, none); err != nil || dropped {
		t.Errorf("none is spent: %v, %v", dropped, err)
	}
	if dropped, err := DropKeys(dir, of(cas[0])); err != nil || !dropped {
		t.Errorf("one is spent: %v, %v", dropped, err)
	}
	has("one", cas[1])
	if dropped, err := DropKeys(dir, of(cas[1])); err != nil || !dropped {
		t.Errorf("all are spent: %v, %v", dropped, err)
	}
	if _, err := KeySince(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// A file that is damaged may have the only copy of a key.
func TestADamagedFileOfKeysIsLeftAsItIs(t *testing.T) {
	dir, good := t.TempDir(), newAuthority(t)
	key, err := good.Key()
	if err != nil {
		t.Fatal(err)
	}
	text := append([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), key...)
	path := filepath.Join(dir, KeyName)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, loading := LoadOf(dir, good.Cert())
	_, dropping := DropKeys(dir, of(good))
	for what, err := range map[string]error{"load": loading, "drop": dropping, "add": AddKey(dir, newAuthority(t), none, none)} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
		t.Errorf("it has changed (%v)", err)
	}
}
