package api

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// served refuses the operations of a feature that is switched off here. What
// another agent forwards is served: there the feature is on.
func (s *Server) served(c caller, in *interrexv1.StreamOperation) error {
	if !s.config.LeasesOff || c.door == doorPeer || in.GetRetire() != "" || in.GetReadIndex() != nil {
		return nil
	}
	return interrex.Errorf(interrex.KindDisabled, "leases are off by configuration on agent %s: set features.leases, or ask another agent", s.config.ID)
}
