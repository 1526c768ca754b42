package member

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
)

// validateID returns an error if an agent's ID is not valid.
func validateID(field, id string) error {
	if err := certificates.CheckID(id); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "%s: %v", field, err)
	}
	return nil
}
