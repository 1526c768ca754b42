package services

import (
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Certificates implements CertificateService.
type Certificates struct {
	Table *member.Table
	// Waiting returns the members that the rotation of the CA waits for, with the reason,
	// as this agent sees it.
	Waiting func() map[string]string
}

// Service returns the methods.
func (s Certificates) Service() method.Service {
	return method.Service{Methods: []method.Method{
		method.Read(interrexv1.CertificateServiceListCertificatesProcedure, s.list),
		method.Write(interrexv1.CertificateServiceRenewCertificateProcedure, machine.MemberTable, renew, renewalAsked),
		method.Write(interrexv1.CertificateServiceRotateCaProcedure, machine.MemberTable, rotateCA, s.rotationAsked),
		method.Write(interrexv1.CertificateServiceRecertifyProcedure, machine.MemberTable, recertify, s.recertified),
	}}
}

func (s Certificates) list(_ *interrexv1.ListCertificatesRequest, st state.State) (*interrexv1.ListCertificatesResponse, error) {
	m := &interrexv1.ListCertificatesResponse{Revision: uint64(st.Revision())}
	for _, row := range s.Table.Members() {
		m.Items = append(m.Items, wire.Certificate(interrex.MemberCertificate{
			ID: row.ID, Serial: row.Certificate.Serial, Issuer: row.Certificate.Issuer, Ends: row.Certificate.Ends, Renewing: row.Renew,
		}))
	}
	if ca := s.Table.CA(); ca != "" {
		m.Ca = jointoken.PinOfDER([]byte(ca)).String()
	}
	if r := s.Table.Rotation(); r != nil {
		m.Rotation = &interrexv1.Rotation{Began: uint64(r.Began), Phase: r.Phase.String(), Without: r.Without}
		if r.Next != "" {
			m.Rotation.Next = jointoken.PinOfDER([]byte(r.Next)).String()
		}
		if s.Waiting != nil {
			m.Rotation.Waiting = s.Waiting()
		}
	}
	return m, nil
}

func rotateCA(m *interrexv1.RotateCaRequest) (state.Command, error) {
	without := slices.Clone(m.GetWithout())
	slices.Sort(without)
	return &member.RotateCA{Without: slices.Compact(without)}, nil
}

func (s Certificates) rotationAsked(r state.Result, _ state.State) (*interrexv1.RotateCaResponse, error) {
	m := &interrexv1.RotateCaResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}
	if now := s.Table.Rotation(); now != nil { // else it has ended since
		m.Began = uint64(now.Began)
	}
	return m, nil
}

func renew(m *interrexv1.RenewCertificateRequest) (state.Command, error) {
	return &member.Renew{ID: m.GetId()}, nil
}

func renewalAsked(r state.Result, _ state.State) (*interrexv1.RenewCertificateResponse, error) {
	return &interrexv1.RenewCertificateResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func recertify(m *interrexv1.RecertifyRequest) (state.Command, error) {
	return &member.Recertify{ID: m.GetId(), Key: string(m.GetKey()), Former: string(m.GetFormer()), Signature: string(m.GetSignature())}, nil
}

func (s Certificates) recertified(r state.Result, _ state.State) (*interrexv1.RecertifyResponse, error) {
	return &interrexv1.RecertifyResponse{Revision: uint64(r.Revision), Authorities: s.Table.Trusted()}, nil
}
