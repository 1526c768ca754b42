package member

import "github.com/interrex/interrex"

// validateID returns an error if an agent's ID is not valid.
func validateID(field, id string) error {
	if !validLabel(id) {
		return interrex.Errorf(interrex.ErrInvalid, "%s: agent ID %q is not valid: give a DNS label, 1-63 of a-z 0-9 -, and not localhost", field, id)
	}
	return nil
}

func validLabel(id string) bool {
	if id == "" || len(id) > 63 || id[0] == '-' || id[len(id)-1] == '-' || id == "localhost" {
		return false
	}
	for _, c := range []byte(id) {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
