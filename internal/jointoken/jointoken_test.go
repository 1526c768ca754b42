package jointoken

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"
)

func TestATokenComesBackFromItsText(t *testing.T) {
	token := New(Pin{1, 2, 3})
	back, err := Parse(" \n" + token.String() + "\n")
	if err != nil || back != token {
		t.Fatalf("%v, %v", back, err)
	}
	if id := IDOf(token.PublicKey()); id != token.ID() || len(id) != 16 {
		t.Errorf("its ID is %q", id)
	}
	text := token.String()
	secret := text[strings.LastIndex(text, ".")+1:]
	for name, bad := range map[string]string{
		"empty":        "",
		"no prefix":    text[1:],
		"cut":          text[:len(text)-3],
		"changed":      text[:len(text)-9] + "AAAAAAAAA",
		"another's ID": "ixj1.0123456789abcdef." + secret,
		"not base64":   text[:len(text)-2] + "!!",
	} {
		_, err := Parse(bad)
		if err == nil {
			t.Errorf("%s: it is read", name)
		} else if strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

func TestASignatureIsForOneSessionAndOneRequest(t *testing.T) {
	token := New(Pin{1})
	session, request := Session{1}, []byte("request")
	signed := token.Sign(session, request)
	for _, test := range []struct {
		session Session
		request string
		key     ed25519.PublicKey
		valid   bool
	}{
		{session, "request", token.PublicKey(), true},
		{Session{2}, "request", token.PublicKey(), false},
		{session, "another", token.PublicKey(), false},
		{session, "request", New(Pin{1}).PublicKey(), false},
	} {
		if got := ed25519.Verify(test.key, Statement(test.session, sha256.Sum256([]byte(test.request))), signed); got != test.valid {
			t.Errorf("%v %s: %v", test.session[0], test.request, got)
		}
	}
}
