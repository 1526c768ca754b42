package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/jointoken"
)

// maxKeys is the number of keys in a directory: while the CA is rotated that of the next
// one too, and some of which it is not known whether they became the next one's.
const maxKeys = 4

// Load reads the authority whose certificates an agent issues, from its data directory:
// the first that is trusted whose key is there. It fails with fs.ErrNotExist if there is no
// key.
func Load(dir string) (*Authority, error) {
	keys, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	certs, err := ReadTrust(dir)
	if err != nil {
		return nil, err
	}
	for _, cert := range certs {
		if key := keyOf(cert, keys); key != nil {
			return &Authority{cert, key}, nil
		}
	}
	return nil, fmt.Errorf("cannot use the CA in %s: %s has no certificate of a key in %s", dir, CertName, KeyName)
}

// keyOf returns the key of an authority's certificate; nil: it is not among the keys.
func keyOf(cert *x509.Certificate, keys []*ecdsa.PrivateKey) *ecdsa.PrivateKey {
	for _, key := range keys {
		if key.PublicKey.Equal(cert.PublicKey) {
			return key
		}
	}
	return nil
}

// LoadOf reads the authority with a certificate, in DER, if its key is in a data
// directory; else it fails with fs.ErrNotExist.
func LoadOf(dir string, der []byte) (*Authority, error) {
	keys, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's certificate: %w", err)
	}
	if key := keyOf(cert, keys); key != nil {
		return &Authority{cert, key}, nil
	}
	return nil, fmt.Errorf("%s has keys, and not the CA's: %w", filepath.Join(dir, KeyName), fs.ErrNotExist)
}

// Pins returns the pins of the authorities whose keys are in a data directory.
func Pins(dir string) ([]jointoken.Pin, error) {
	keys, err := readKeys(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var pins []jointoken.Pin
	for _, key := range keys {
		pins = append(pins, pinOf(key))
	}
	return pins, err
}

func pinOf(key *ecdsa.PrivateKey) jointoken.Pin {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return jointoken.Pin{} // it was parsed, so this does not happen
	}
	return sha256.Sum256(public)
}

// readKeys returns the keys in a data directory, at least one.
func readKeys(dir string) (keys []*ecdsa.PrivateKey, err error) {
	path := filepath.Join(dir, KeyName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA's key: %w", err)
	}
	for rest := text; len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := parseKey(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s is not a PKCS #8 key in PEM", path)
	}
	return keys, nil
}

func parseKey(block *pem.Block) (*ecdsa.PrivateKey, error) {
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("it is not a PKCS #8 key in PEM, as 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256' makes")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, is := parsed.(*ecdsa.PrivateKey)
	if !is {
		return nil, fmt.Errorf("it is a %T, not an ECDSA key", parsed)
	}
	return key, nil
}

// Of makes an authority of its certificate and its key, in PEM, if they belong
// together.
func Of(cert *x509.Certificate, key []byte) (*Authority, error) {
	block, _ := pem.Decode(key)
	signer, err := parseKey(block)
	if err != nil {
		return nil, err
	}
	if !signer.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the key and the certificate do not belong together")
	}
	return &Authority{cert, signer}, nil
}

// Key returns the authority's key, in PEM. It is a secret.
func (a *Authority) Key() ([]byte, error) { return encodeKey(a.key) }

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the CA's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// SaveKey makes the authority's key the only one in a directory.
func (a *Authority) SaveKey(dir string) error { return saveKeys(dir, []*ecdsa.PrivateKey{a.key}) }

// AddKey adds the authority's key to those in a directory, whose file only its owner can
// read, and drops those that are spent, and the oldest that are not wanted if there are
// too many. Calls for one directory must not overlap.
func AddKey(dir string, a *Authority, spent, wanted func(jointoken.Pin) bool) error {
	keys, err := readKeys(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	keys = slices.DeleteFunc(keys, func(key *ecdsa.PrivateKey) bool { return key.Equal(a.key) || spent(pinOf(key)) })
	for len(keys) >= maxKeys {
		i := slices.IndexFunc(keys, func(key *ecdsa.PrivateKey) bool { return !wanted(pinOf(key)) })
		keys = slices.Delete(keys, max(0, i), max(0, i)+1)
	}
	return saveKeys(dir, append(keys, a.key))
}

// DropKeys drops the keys in a directory that are spent, and reports whether there was
// one. Calls for one directory must not overlap.
func DropKeys(dir string, spent func(jointoken.Pin) bool) (bool, error) {
	keys, err := readKeys(dir)
	if err != nil {
		return false, err
	}
	rest := slices.DeleteFunc(slices.Clone(keys), func(key *ecdsa.PrivateKey) bool { return spent(pinOf(key)) })
	switch len(rest) {
	case len(keys):
		return false, nil
	case 0:
		return true, DeleteKey(dir)
	}
	return true, saveKeys(dir, rest)
}

func saveKeys(dir string, keys []*ecdsa.PrivateKey) error {
	var text []byte
	for _, key := range keys {
		one, err := encodeKey(key)
		if err != nil {
			return err
		}
		text = append(text, one...)
	}
	return disk.ReplaceFile("the CA's key", filepath.Join(dir, KeyName), text)
}

// KeySince returns since when a directory has an authority's key; fs.ErrNotExist: it
// has none.
func KeySince(dir string) (time.Time, error) {
	info, err := os.Stat(filepath.Join(dir, KeyName))
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot look for the CA's key: %w", err)
	}
	return info.ModTime(), nil
}

// DeleteKey deletes the authorities' keys in a directory.
func DeleteKey(dir string) error {
	err := os.Remove(filepath.Join(dir, KeyName))
	if err == nil {
		err = disk.OS{}.Sync(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot delete the CA's key: %w", err)
	}
	return nil
}
