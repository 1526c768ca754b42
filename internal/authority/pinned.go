package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/interrex/interrex/internal/jointoken"
)

// ErrNotYet is returned for a member whose certificate has not been renewed under the
// cluster's new CA.
var ErrNotYet = errors.New("its certificate is not of the CA of the join token: it has not been renewed since that CA was made, or somebody is in between")

// VerifyPinned returns the authority with a pin in the chain that a member presented
// to a joiner, which has no other authority yet. The member's certificate must be
// issued by it and valid now. Behind it come the authorities that the cluster trusts,
// first the one that issues certificates; ErrNotYet: that has the pin, and the member's
// certificate is still of a former one.
func VerifyPinned(chain []*x509.Certificate, pin jointoken.Pin, now time.Time) (*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("it presented no certificate")
	}
	for _, ca := range chain[1:] {
		if jointoken.PinOf(ca) != pin {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err := chain[0].Verify(x509.VerifyOptions{
			Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		var unknown x509.UnknownAuthorityError
		switch {
		case err == nil:
		case errors.As(err, &unknown) && jointoken.PinOf(chain[1]) == pin:
			return nil, ErrNotYet
		case errors.As(err, &unknown):
			return nil, errors.New("the cluster's CA was rotated after the join token was made: 'interrex join-token create' makes another")
		default:
			return nil, fmt.Errorf("its certificate is not valid under the CA of the join token (this machine's clock says %s): %w", now.UTC().Format(time.RFC3339), err)
		}
		return ca, nil
	}
	return nil, fmt.Errorf("it does not belong to the CA %v of the join token: the address is that of another cluster, the CA was rotated after the token was made, or somebody is in between", pin)
}
